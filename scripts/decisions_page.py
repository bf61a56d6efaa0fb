"""Writes DECISIONS.md, the index of docs/decisions: `python -m scripts.decisions_page`.

A record begins with its number and title, then a line with its date and status:

    # 0042: what was chosen

    2026-11-21. Accepted, amended by [0053](0053-title.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "RECORDS", "Record", "page", "read_records"]

ROOT = Path(__file__).parent.parent
PAGE, RECORDS = ROOT / "DECISIONS.md", ROOT / "docs" / "decisions"
NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
OTHERS = r"\[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)"
LINK = re.compile(r"\[(\d{4})\]\([^)]*\)")
BY = rf"by\s{OTHERS}(?:\sand\s{OTHERS})*"
STATUS = rf"Accepted|Accepted,\samended\s{BY}|Superseded\s{BY}"
HEAD = re.compile(rf"# (\d{{4}}): (.+)\n\n(\d{{4}}-\d\d-\d\d)\.\s({STATUS})\.\n\n\S")
HEADER = """# Decisions

What was chosen, why, and what it costs: a record each in docs/decisions, which nobody changes afterwards but for its
status. A later record supersedes or amends an earlier one. A new one takes the next number; then `python -m
scripts.decisions_page` writes this page.

| | date | decision | status |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Record:
    """A decision.

    Attributes:
        file: in docs/decisions.
        number: four digits.
        title: what was chosen.
        date: ISO 8601.
        status: "Accepted", or the numbers of the records that amended or superseded it.
    """

    file: str
    number: str
    title: str
    date: str
    status: str


def read_records(folder: Path = RECORDS) -> list[Record]:
    """The records of a folder in the order of their numbers.

    Raises:
        ValueError: a record does not begin as it should, or two have one number.
    """
    records = []
    for path in sorted(folder.glob("*.md")):
        name, head = NAME.fullmatch(path.name), HEAD.match(path.read_text(encoding="utf-8"))
        if not name or not head or name[1] != head[1]:
            raise ValueError(
                f"{path} does not begin with '# NUMBER: title' and a line 'DATE. Status.', as its name says"
            )
        number, title, date, status = head.groups()
        records.append(Record(path.name, number, title, date, re.sub(r"\s", " ", LINK.sub(r"\1", status))))
    numbers = [record.number for record in records]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ValueError(f"two decisions have the number {twice[0]}; the later one takes the next that is free")
    return records


def page() -> str:
    """The whole page."""
    return HEADER + "".join(
        f"| [{record.number}](docs/decisions/{record.file}) | {record.date} | {record.title} | {record.status} |\n"
        for record in read_records()
    )


if __name__ == "__main__":
    PAGE.write_text(page())
