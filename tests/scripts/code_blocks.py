"""The fenced blocks of the Markdown files, and the simple commands in shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

from tests.scripts.tracked import ROOT, tracked

__all__ = ["Block", "all_blocks", "blocks", "commands", "pages", "spans"]

# The past, and what is filled in before it is a page.
EXCEPT = ("CHANGELOG.md", "DECISIONS.md", "docs/decisions/", "docs/templates/")
BLOCK = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`(?!`)([^`]+)`(?!`)")
ENDS = {"&&", "||", "|", ";", "&", "(", ")", ";;", "|&"}
COMMENT = re.compile(r"(^|\s)#( .*)?$", re.MULTILINE)
VARIABLE = re.compile(r"\w+=")
REDIRECTS = re.compile(r"[<>]+&?|&>")


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        place: file and line, to be found by.
        language: the first word behind the fence.
        title: the name of the file that the block is, if it says one.
    """

    place: str
    language: str
    title: str
    code: str


def pages() -> list[Path]:
    """The Markdown files that somebody follows, relative to the root."""
    return [file for file in tracked() if file.suffix == ".md" and not str(file).startswith(EXCEPT)]


def blocks(name: str, text: str) -> list[Block]:
    """The blocks of a page, in their order."""
    found = []
    for match in BLOCK.finditer(text):
        language, _, more = match[3].strip().partition(" ")
        title = re.search(r'title="([^"]*)"', more)
        code = re.sub(f"^{match[1]}", "", match[4], flags=re.MULTILINE)
        place = f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
        found.append(Block(place, language, title[1] if title else "", code))
    return found


def spans(text: str) -> list[str]:
    """What stands between single backticks in the prose, on one line."""
    return [" ".join(found.split()) for found in SPAN.findall(BLOCK.sub("", text))]


def commands(shell: str) -> Iterator[list[str]]:
    """The words of each simple command of a script, without variables before it, redirections and comments.

    Raises:
        ValueError: a quote is not closed.
    """
    shell = COMMENT.sub("", shell).replace("\\\n", " ").replace("\n", " ;; ") + " ;;"
    words = shlex.shlex(shell, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    words.commenters = ""
    found: list[str] = []
    skip = False
    for word in words:
        if word in ENDS:
            if found := list(dropwhile(VARIABLE.match, found)):
                yield found
            found, skip = [], False
        elif REDIRECTS.fullmatch(word):
            skip = True
            if found and found[-1].isdigit():
                found.pop()
        elif skip:
            skip = False
        else:
            found.append(word)


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [each for file in pages() for each in blocks(str(file), (ROOT / file).read_text(encoding="utf-8"))]
