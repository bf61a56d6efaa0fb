"""Links of every Markdown file lead to a file and a heading that are there, and so do the pages that code names."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest

from tests.scripts.test_prose import FENCE
from tests.scripts.tracked import ROOT, tracked

LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
PAGE = re.compile(r"(?<![\w/.])docs/[\w/-]+\.md(?:#([\w-]+))?")
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".j2", ".json", ""}


def without_code(text: str) -> str:
    """The lines of a Markdown file outside of code blocks, and those without `code`."""
    kept, fence = [], ""
    for line in text.splitlines():
        if found := FENCE.match(line):
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
        elif not fence:
            kept.append(line)
    return "\n".join(kept)


@cache
def anchors(path: Path) -> set[str]:
    """What links to headings of a page may say: the heading in lower case, its punctuation gone, dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links(file: Path) -> list[str]:
    """Links of a Markdown file that lead nowhere."""
    found = []
    for target, anchor in LINK.findall(re.sub(r"`[^`]*`", "`", without_code(file.read_text(encoding="utf-8")))):
        path = Path(os.path.normpath(file.parent / target)) if target else file
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            found.append(f"{target}#{anchor}" if anchor else target)
    return found


def test_every_link_leads_somewhere() -> None:
    pages = [ROOT / file for file in tracked() if file.suffix == ".md" and "templates" not in file.parts]
    found = {str(page.relative_to(ROOT)): dead for page in pages if (dead := dead_links(page))}
    assert len(pages) > 30 and not found


def test_every_page_that_a_file_names_is_there() -> None:
    found = []
    for file in tracked():
        if file.suffix in TEXT and file.parts[:2] != ("tests", "scripts"):
            for page in PAGE.finditer((ROOT / file).read_text(encoding="utf-8")):
                name, _, anchor = page[0].partition("#")
                if not (ROOT / name).is_file() or (anchor and anchor not in anchors(ROOT / name)):
                    found.append(f"{file}: {page[0]}")
    assert not found


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](there.md) [b](there.md#two-words) [c](#own) [d](https://example.com/none)\n# Own\n", []),
        ("[a](gone.md) [b](there.md#three) [c](#none)\n", ["gone.md", "there.md#three", "#none"]),
        ("```\n[a](gone.md)\n```\n`[b](gone.md)`\n", []),
        ("[two\nlines](gone.md)\n", ["gone.md"]),
    ],
)
def test_what_a_dead_link_is(text: str, dead: list[str], tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Two `words`\n")
    (tmp_path / "page.md").write_text(text)
    assert dead_links(tmp_path / "page.md") == dead
