"""The rows of Delta and Iceberg tables as Parquet files, for as long as the tables are read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.check import check_columns
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.lake.kinds import READ
from workflows.tables.lake.snapshot import Snapshot, told
from workflows.tables.load import Inputs
from workflows.tables.paths import path_sql
from workflows.tables.raw_events import needed_columns
from workflows.tables.source import Source
from workflows.tables.warehouse.snapshot import settle_rows
from workflows.tables.watch import num_rows

if TYPE_CHECKING:
    import duckdb

__all__ = ["as_files", "versions_of"]

Needed = Sequence[tuple[str, str]]  # (column, config key that names it)


def as_files(
    con: duckdb.DuckDBPyConnection, inputs: Inputs, data: DataConfig, split: SplitConfig, scratch: Path
) -> Inputs:
    """The same inputs with a Parquet file for each Delta or Iceberg table; of events the columns that the config names.

    Rows have no order in such a table: they are put into one of their own, as those of a warehouse are.

    Args:
        con: orders them, on disk where it must.
        inputs: the tables.
        data: what their columns mean.
        split: names the split column.
        scratch: a folder for the files.

    Raises:
        DataError: a table cannot be read, lacks a column, or is empty.
    """
    needed = needed_columns(data, split)
    order = [name for name in (data.timestamp, data.user_id, data.item_id) if name]

    def entities(source: Source | None, column: str) -> Source | None:
        return source and _written(con, source, [(column, f"data.{source.table[:-1]}_id")], [column], scratch)

    return msgspec.structs.replace(
        inputs,
        events={name: _written(con, source, needed, order, scratch) for name, source in inputs.events.items()},
        items=entities(inputs.items, data.item_id),
        users=entities(inputs.users, data.user_id),
    )


def versions_of(inputs: Inputs) -> tuple[str, ...]:
    """FOLDER@VERSION of each Delta or Iceberg table."""
    sources = [*inputs.events.values(), inputs.items, inputs.users]
    return tuple(name for source in sources if source for name in source.versions)


def _written(
    con: duckdb.DuckDBPyConnection, source: Source, needed: Needed, order: Sequence[str], scratch: Path
) -> Source:
    """A source as Parquet files; itself where it is of files."""
    if source.format not in READ:
        return source
    files: list[str] = []
    for folder, snapshot, name in zip(source.files, source.snapshots, source.versions, strict=True):
        started_at, path = time.perf_counter(), scratch / f"{source.table}_{len(files)}.parquet"
        columns = _columns(source, snapshot, needed)
        with told(source.table, folder, source.format):
            _copy(con, snapshot, columns, path.with_suffix(".raw"))
        settle_rows(con, path.with_suffix(".raw"), path, [], [name for name in order if name in columns])
        path.with_suffix(".raw").unlink()
        files.append(str(path))
        count = num_rows(con, f"read_parquet({path_sql(str(path))})")
        if not count:
            raise DataError(f"{source.table}: expected at least one row, got none in {name}")
        seconds = console.duration(time.perf_counter() - started_at)
        console.say(f"data: {source.table}: {count:,} rows of {name} read in {seconds}")
    return Source(source.table, files, "Parquet")


def _columns(source: Source, snapshot: Snapshot, needed: Needed) -> list[str]:
    """What is read: of events what is needed, of items and users every column."""
    check_columns(source.table, dict.fromkeys(snapshot.columns, ""), needed)
    asked = {name for name, _ in needed}
    return [name for name in snapshot.columns if name in asked or source.table in ("items", "users")]


def _copy(con: duckdb.DuckDBPyConnection, snapshot: Snapshot, columns: Sequence[str], path: Path) -> None:
    """Write the rows as they come."""
    con.register("lake_rows", snapshot.read(columns))
    try:
        con.execute(f"COPY lake_rows TO {path_sql(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    finally:
        con.unregister("lake_rows")
