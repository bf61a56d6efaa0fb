"""Paths and names in SQL."""

from __future__ import annotations

import glob
from pathlib import Path

__all__ = ["path_sql", "text_sql"]


def text_sql(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def path_sql(file: str) -> str:
    """A file's name or URL as an SQL literal. DuckDB reads every local name as a glob."""
    return text_sql(file if "://" in file else glob.escape(str(Path(file).absolute())))
