"""`cascade block` and `unblock`: what the file says after them, and what is refused."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ensemble.export.stage import export
from ensemble.publish import publish
from operations import blocks
from operations.blocks import blocked_now, change_blocks
from scripts.cli import app
from tests.ensemble.synthetic import item_id, make_run
from workflows.core import lines
from workflows.core.errors import ArtefactError, CascadeError


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    made, _ = make_run(tmp_path_factory.mktemp("blocks") / "run", num_users=20, num_items=60)
    export(made, _)
    return made.root


@pytest.fixture
def target(run) -> Path:
    (run / "blocked.ndjson").unlink(missing_ok=True)
    return run


def test_blocks_are_dated_listed_and_undone(target) -> None:
    change = change_blocks(
        target, [str(item_id(7, False)), "123456789", str(item_id(7, False))], block=True, reason="recall"
    )
    assert change.changed == [item_id(7, False), 123456789] and change.unknown == [123456789]
    assert change.path == target / "blocked.ndjson"
    again = change_blocks(target, [str(item_id(7, False))], block=True, reason="twice")
    assert again.changed == []
    first, second = blocked_now(target)
    assert (first.item_id, first.reason, second.item_id) == (item_id(7, False), "recall", 123456789)
    assert first.at.endswith("+00:00") and first.at <= second.at
    assert change_blocks(target, ["123456789", "5"], block=False).changed == [123456789]
    assert [block.item_id for block in blocked_now(target)] == [item_id(7, False)]
    assert len(change.path.read_text().splitlines()) == 3


def test_an_export_made_anew_keeps_them_and_a_published_repository_has_its_own(tmp_path) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60, text_ids=True)
    export(run, config)
    change_blocks(run.root, [item_id(3, True).decode()], block=True)
    export(run, config, force=True)
    assert [block.item_id for block in blocked_now(run.root)] == [item_id(3, True).decode()]
    for layout in ("fused", "ensemble"):
        for _ in range(2):
            publish(run, config, tmp_path / layout, layout)
        assert blocked_now(tmp_path / layout) == []
        assert change_blocks(tmp_path / layout, [item_id(3, True).decode()], block=True).unknown == []
        assert (tmp_path / layout / "blocked.ndjson").is_file()


def test_what_is_no_id_of_the_data_or_too_many_is_refused(target, monkeypatch) -> None:
    for bad in ("seven", "1.5", str(2**63)):
        with pytest.raises(CascadeError, match=f"integer ids, got '{bad}'"):
            change_blocks(target, ["1", bad], block=True)
    monkeypatch.setattr(blocks, "MOST_BLOCKED", 2)
    with pytest.raises(CascadeError, match="at most 2 items can be blocked, and 0 are"):
        change_blocks(target, ["1", "2", "3"], block=True)
    assert blocked_now(target) == []
    with pytest.raises(ArtefactError, match="is not a folder"):
        change_blocks(target / "nothing", ["1"], block=True)


def _block(target: Path, first: int) -> None:
    for item in range(first, first + 20):
        change_blocks(target, [str(item)], block=True)


def test_two_at_once_lose_nothing_and_a_torn_line_goes(target) -> None:
    (target / "blocked.ndjson").write_text('{"at": "torn')
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_block, args=(target, first)) for first in (1000, 2000)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert sorted(block.item_id for block in blocked_now(target)) == [*range(1000, 1020), *range(2000, 2020)]


def test_a_full_disk_leaves_the_file_as_it_was(target, monkeypatch) -> None:
    change_blocks(target, ["1"], block=True)
    before = (target / "blocked.ndjson").read_bytes()
    real = lines.os.write

    def half(file: int, content: bytes) -> int:
        real(file, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lines.os, "write", half)
    with pytest.raises(CascadeError, match="is full; free some space"):
        change_blocks(target, ["2"], block=True)
    assert (target / "blocked.ndjson").read_bytes() == before


def test_the_commands(target) -> None:
    runner = CliRunner()
    assert "no item is blocked" in runner.invoke(app, ["block", "--repo", str(target)]).stderr
    done = runner.invoke(app, ["block", "8", "--repo", str(target), "--reason", "wrong price"])
    assert done.exit_code == 0 and "8 blocked" in done.stderr
    assert "they were blocked already" in runner.invoke(app, ["block", "8", "--repo", str(target)]).stderr
    at, item, reason = runner.invoke(app, ["block", "--repo", str(target)]).stdout.strip().split("\t")
    assert (item, reason) == ("8", "wrong price") and at.startswith("20")
    assert "8 not blocked any more" in runner.invoke(app, ["unblock", "8", "--repo", str(target)]).stderr
    refused = runner.invoke(app, ["block", "x", "--repo", str(target)])
    assert refused.exit_code == 1 and "integer ids, got 'x'" in refused.stderr
