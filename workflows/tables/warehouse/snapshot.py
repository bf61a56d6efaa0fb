"""Rows of a warehouse as a Parquet file: types settled, rows in an order that does not depend on how they came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflows.tables.check import columns_of
from workflows.tables.paths import path_sql
from workflows.tables.source import quoted
from workflows.tables.warehouse.connection import Rows

if TYPE_CHECKING:
    import duckdb

__all__ = ["contents_of", "settle_rows", "write_rows"]

WHOLE = r"[+-]?[0-9]+(\.0*)?"


def write_rows(rows: Rows, path: Path) -> int:
    """Write record batches as they come; how many rows there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    schema = pa.schema([pa.field(field.name, field.type) for field in rows.schema])
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as file:
        for batch in rows.batches:
            file.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            count += len(batch)
    return count


def settle_rows(
    con: duckdb.DuckDBPyConnection, raw: Path, path: Path, decimals: Sequence[str], first: Sequence[str]
) -> None:
    """Write the table that is read: decimals as int64, float64 or text, rows ordered by all of their columns.

    A decimal column is int64 where every value is whole and fits, text where it is whole and does not fit (an id of
    twenty digits keeps them), else float64: a warehouse may have only one type of number.

    Args:
        con: does it, on disk where it must.
        raw: what was read.
        path: the new file; it appears when it is whole.
        decimals: columns of text that are decimal numbers.
        first: columns that lead the order, where they are there.
    """
    relation = f"read_parquet({path_sql(str(raw))})"
    shape = columns_of(con, relation)
    settled = _settled(con, relation, [n for n, kind in shape.items() if n in decimals or kind.startswith("DECIMAL")])
    columns = ", ".join(f"{settled.get(name, quoted(name))} AS {quoted(name)}" for name in shape)
    leading = [quoted(name) for name in first if name in shape]
    order = ", ".join(leading + [quoted(name) for name in shape if name not in first])
    fresh = path.with_suffix(".new")
    target = path_sql(str(fresh))
    con.execute(
        f"COPY (SELECT {columns} FROM {relation} ORDER BY {order}) TO {target} (FORMAT parquet, COMPRESSION zstd)"
    )
    fresh.rename(path)


def contents_of(con: duckdb.DuckDBPyConnection, path: Path) -> list[Any]:
    """What identifies the rows of a table in whatever order: their types, number and hashes."""
    relation = f"read_parquet({path_sql(str(path))}) AS t"
    shape = columns_of(con, relation)
    hashes = "sum(hash(t)::HUGEINT)::VARCHAR, bit_xor(hash(t, 1))::VARCHAR"
    return [shape, *con.execute(f"SELECT count(*), {hashes} FROM {relation}").fetchall()[0]]


def _settled(con: duckdb.DuckDBPyConnection, relation: str, decimals: Sequence[str]) -> dict[str, str]:
    """Decimal column -> the SQL of its settled values."""
    settled = {}
    for name in decimals:
        text = f"{quoted(name)}::VARCHAR"
        whole = f"split_part({text}, '.', 1)"
        is_whole, fits = con.execute(
            f"SELECT coalesce(bool_and(regexp_full_match({text}, '{WHOLE}')), true), "
            f"count(*) FILTER (WHERE {quoted(name)} IS NOT NULL AND TRY_CAST({whole} AS BIGINT) IS NULL) = 0 "
            f"FROM {relation}"
        ).fetchall()[0]
        settled[name] = f"CAST({text} AS DOUBLE)" if not is_whole else f"CAST({whole} AS BIGINT)" if fits else whole
    return settled
