"""Pages of HTML from templates beside the code: whatever a name or a value is, it is text on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["STYLE", "html_pages"]

# What the pages of the console share.
STYLE = Path(__file__).with_name("pages.css")


def html_pages(folder: Path, filters: Mapping[str, Callable[..., Any]], *others: Path) -> Environment:
    """The templates of a folder, and of others that they include; what they name and nobody gives is an error."""
    environment = Environment(
        loader=FileSystemLoader([folder, *others, STYLE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
