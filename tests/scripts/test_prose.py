"""Lines of prose have at most 120 characters, in every file that git tracks; ruff checks those of Python code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.tracked import ROOT, tracked

WIDTH = 120
COMMENTED = re.compile(r".*\.(toml|ya?ml|sh|in|cfg|ini)|Dockerfile.*|Makefile|run|\.gitignore|\.dockerignore")
FENCE = re.compile(r"^\s*(```+|~~~+)")
# Nothing of it can be broken: one word, such as an address, after a list marker, quotes or a link's first words.
ONE_WORD = re.compile(r"^\s*([-*+#>]+\s+|\d+[.)]\s+)?\S+$")
CELLS = re.compile(r"(?<!\\)\|")
MARKUP = re.compile(r"<[^<>]*>|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")
COMMENT = re.compile(r"(^|\s)#(\s|!|$)")


def of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the prose: lines outside code, comments inside, and of a table each cell."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := FENCE.match(line):
            if not fence:
                fence = found[1]
            elif found[1].startswith(fence):
                fence = ""
        elif fence:
            yield from of_comments(line, number)
        elif line.lstrip().startswith("|"):
            yield from ((number, cell.strip()) for cell in CELLS.split(line))
        elif not ONE_WORD.match(line):
            yield number, line


def of_comments(text: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines that are comments or end in one."""
    lines = enumerate(text.splitlines(), first)
    return ((number, line) for number, line in lines if COMMENT.search(line) and not ONE_WORD.match(line))


def of_template(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines of a page's template, without tags and expressions; its style sheet is code."""
    text = re.sub(r"<style>.*?</style>", lambda style: "\n" * style[0].count("\n"), text, flags=re.DOTALL)
    return ((number, MARKUP.sub("", line)) for number, line in enumerate(text.splitlines(), 1))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """What of a file is prose; nothing of code, data, lock files and pictures."""
    if path.suffix == ".md":
        return of_markdown(path.read_text(encoding="utf-8"))
    if path.suffix == ".j2":
        return of_template(path.read_text(encoding="utf-8"))
    if COMMENTED.fullmatch(path.name):
        return of_comments(path.read_text(encoding="utf-8"))
    return iter(())


def too_long(lines: Iterator[tuple[int, str]]) -> list[int]:
    return [number for number, text in lines if len(text) > WIDTH]


def test_no_line_of_prose_is_longer() -> None:
    found = [f"{file}:{number}" for file in tracked() for number in too_long(prose(ROOT / file))]
    assert not found, f"wrap these lines at {WIDTH} characters; of a table, shorten the cell"


LONG = "word " * 25


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (f"# Title\n\n{LONG}\n", [3]),
        (f"- {LONG}\n  {LONG}\n", [1, 2]),
        (f"```bash\n{LONG}\n```\n{LONG}\n", [4]),
        (f"```toml\na = 1  # {LONG}\n```\n", [2]),
        (f"````\n```\n{LONG}\n````\n{LONG}\n", [5]),
        (f"| {'short | ' * 30}\n|---|\n| {LONG}|\n", [3]),
        (f"- https://{'a' * 130}\n", []),
        (f"{'é' * 60} {'é' * 59}\n", []),
    ],
)
def test_what_is_prose_of_markdown(text: str, numbers: list[int]) -> None:
    assert too_long(of_markdown(text)) == numbers


def test_what_is_prose_of_other_files() -> None:
    assert too_long(of_comments(f"a = 1\n  # {LONG}\nb = 'x'  # {LONG}\nc = '{LONG}'\n")) == [2, 3]
    page = f"<style>\n{LONG}\n</style>\n<p class='{'x' * 130}'>{{{{ {LONG} }}}} words</p>\n<p>{LONG}</p>\n"
    assert too_long(of_template(page)) == [5]
