"""A DuckDB of a stage's own, on disk where its tables are larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

__all__ = ["database"]


@contextmanager
def database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database on disk, so that tables larger than memory spill beside it."""
    import duckdb

    # DuckDB puts the end of its log's name before a question mark, into a folder that is not there.
    database = ":memory:" if "?" in str(scratch.resolve()) else str(scratch / "tables.duckdb")
    con = duckdb.connect(database, config={"temp_directory": str(scratch / "spill")})
    try:
        con.execute("SET enable_progress_bar = true")  # or its progress is not known; `watched` shows it
        con.execute("SET enable_progress_bar_print = false")
        con.execute("SET preserve_insertion_order = true")
        yield con
    finally:
        con.close()
