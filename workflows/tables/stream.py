"""Stream a query as Arrow batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["stream"]

ROWS_PER_BATCH = 1 << 20


def stream(con: duckdb.DuckDBPyConnection, sql: str, rows: int = ROWS_PER_BATCH) -> pa.RecordBatchReader:
    """Run a query and read its result `rows` at a time; read it to its end before the connection is used again."""
    result = con.execute(sql)
    if hasattr(result, "to_arrow_reader"):
        return result.to_arrow_reader(rows)
    return result.fetch_record_batch(rows)  # DuckDB before 1.4
