"""Show what DuckDB is doing: its queries may run for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workflows.core import console

if TYPE_CHECKING:
    import duckdb

__all__ = ["num_rows", "watched"]


@contextmanager
def watched(
    con: duckdb.DuckDBPyConnection, doing: str, total: float, unit: str = "rows", *, one: bool = True
) -> Iterator[None]:
    """Show how far the query of the body is.

    Args:
        con: runs it; `enable_progress_bar` is set, its printing is not.
        doing: what the query does.
        total: how many units it reads.
        unit: of them, for the rate.
        one: whether it is one query; of several nobody knows how far they are.
    """
    with console.step(f"data: {doing}", (lambda: con.query_progress() / 100) if one else None, total, unit):
        yield


def num_rows(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    """The rows of a table, or of one with a condition."""
    return int(con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
