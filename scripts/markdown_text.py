"""Markdown that the generated pages share: paragraphs of help, and list items of a name and its meaning."""

from __future__ import annotations

import inspect
import re
import textwrap

from scripts.artefacts_page import WIDTH

__all__ = ["NOTE", "item", "paragraphs"]

NOTE = "<!-- Written by python -m scripts.reference_pages from {}. -->\n"


def paragraphs(text: str) -> str:
    """Help as Markdown; its indented blocks are code."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text.split("\f")[0]))
    return "\n\n".join(
        f"```text\n{textwrap.dedent(part)}\n```" if part.startswith("    ") else _fill(" ".join(part.split()))
        for part in parts
    )


def item(name: str, about: str, meaning: str) -> str:
    """A list item: a name, its type and default, what it means."""
    line = f"- {name} ({about})" + (f": {' '.join(meaning.split())}" if meaning else "")
    return _fill(line, "  ") + "\n"


def _fill(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
