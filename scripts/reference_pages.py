"""Writes docs/COMMANDS.md, CONFIGURATION.md, JSON.md and PYTHON.md from the code: python -m scripts.reference_pages."""

from __future__ import annotations

from pathlib import Path

from scripts.commands_page import commands_page
from scripts.configuration_page import configuration_page
from scripts.json_page import json_page
from scripts.python_page import python_page

__all__ = ["PAGES"]

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {
    DOCS / "COMMANDS.md": commands_page,
    DOCS / "CONFIGURATION.md": configuration_page,
    DOCS / "JSON.md": json_page,
    DOCS / "PYTHON.md": python_page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
