"""DECISIONS.md lists the records of docs/decisions, numbered without a gap, each with a status."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.decisions_page import PAGE, page, read_records


def test_the_index_is_what_the_records_say() -> None:
    assert PAGE.read_text() == page(), "run python -m scripts.decisions_page and commit DECISIONS.md"


def test_records_are_numbered_without_a_gap() -> None:
    assert [int(record.number) for record in read_records()] == list(range(1, len(read_records()) + 1))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("0001-a.md", "# 0002: a\n\n2026-11-30. Accepted.\n\nText.\n", "does not begin"),
        ("0001-a.md", "# 0001: a\n\n2026-11-30. Maybe.\n\nText.\n", "does not begin"),
        ("0001-a.md", "# 0001: a\n\n2026-11-30. Accepted.\n", "does not begin"),
        ("a.md", "# 0001: a\n\n2026-11-30. Accepted.\n\nText.\n", "does not begin"),
        ("0001-b.md", "# 0001: b\n\n2026-11-30. Superseded by [0002](0002-c.md).\n\nText.\n", None),
    ],
)
def test_a_record_has_number_date_and_status(name: str, text: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    if message is None:
        assert read_records(tmp_path)[0].status == "Superseded by 0002"
        return
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path)


def test_a_number_is_taken_once(tmp_path: Path) -> None:
    for letter in "ab":
        (tmp_path / f"0001-{letter}.md").write_text(f"# 0001: {letter}\n\n2026-11-30. Accepted.\n\nText.\n")
    with pytest.raises(ValueError, match="two decisions have the number 0001"):
        read_records(tmp_path)
