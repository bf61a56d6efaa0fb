"""Write the events of each split to Parquet parts, with their histories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.core.console import progress
from workflows.stream.features import LiveColumn
from workflows.tables.config import DataConfig
from workflows.tables.history import DrawnHistory, History, PastHistory, write_interactions
from workflows.tables.source import quoted
from workflows.tables.split import OUTSIDE, PROPENSITY, SPLITS
from workflows.tables.states import INTERACTION
from workflows.tables.stream import stream
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from workflows.stream.columns import TableStream

__all__ = ["MAX_PART_ROWS", "write_parts"]

MAX_PART_ROWS = 1_000_000
ROWS_PER_BATCH = 204_800
DRAW_SEED = 20_240_101
BEFORE = (
    f"count(*) FILTER (WHERE {INTERACTION}) OVER "
    "(PARTITION BY user_row ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
)


def write_parts(
    con: duckdb.DuckDBPyConnection,
    data: DataConfig,
    folder: Path,
    scratch: Path,
    num_users: int,
    history_length: int,
    known: TableStream | None = None,
    live: Sequence[LiveColumn] = (),
) -> dict[str, int]:
    """Write train/, valid/ and test/, ordered by (at, file order); the states must be written already.

    Args:
        con: holds the table `events`.
        data: names of the labels, position, propensity and context columns; without a timestamp histories are drawn.
        folder: the data folder.
        scratch: for a temporary file.
        num_users: U.
        history_length: L.
        known: the events as live ones, where there are stream features.
        live: those; the columns of users are written.

    Returns:
        Rows of each split.
    """
    before = BEFORE if data.timestamp else "0"
    total = num_rows(con, "events")
    with watched(con, "counting what came before each event", total):
        con.execute(f"CREATE TABLE counted AS SELECT *, {before} AS before FROM events")
    kept, indptr = scratch / "interactions.npy", np.zeros(0, np.int64)
    if data.timestamp:
        with watched(con, "ordering the interactions", total, one=False):
            indptr = write_interactions(con, kept, num_users)
    of_users = [column for column in live if column.key == "user"]
    counts = dict(con.execute("SELECT split, count(*) FROM counted GROUP BY 1").fetchall())
    with progress("data: writing the events", total=total, unit="rows") as bar:
        for place, name in enumerate(SPLITS):
            history: History
            if data.timestamp:
                history = PastHistory(np.load(kept, mmap_mode="r"), indptr, history_length)
            else:
                state = folder / "state" / ("eval" if name == "test" else "train")
                history = DrawnHistory(state, history_length, exclude_own=name == "train", seed=DRAW_SEED + place)
            parts = _Parts(folder / name)
            batches = stream(con, _select(data, place), ROWS_PER_BATCH)
            parts.write(_with_live(_with_history(_empty(batches.schema), history), known, of_users))
            for batch in batches:
                parts.write(_with_live(_with_history(batch, history), known, of_users))
                bar.advance(bar.task_ids[0], batch.num_rows)
            parts.close()
    return {name: int(counts.get(place, 0)) for place, name in enumerate(SPLITS)}


def _select(data: DataConfig, place: int) -> str:
    columns = ["before AS __before", "user_row", "item_row", 'instant AS "at"']
    columns += [f"label_{k} AS {quoted(label)}" for k, label in enumerate(data.labels)]
    columns += [f"position AS {quoted(data.position)}"] if data.position else []
    columns += [f"propensity AS {PROPENSITY}"] if data.propensity else []
    columns += [f"outside AS {OUTSIDE}"] if SPLITS[place] == "test" else []
    columns += [f"context_{k} AS {quoted(name)}" for k, name in enumerate(data.context)]
    return f"SELECT {', '.join(columns)} FROM counted WHERE split = {place} ORDER BY instant, n"


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)


def _with_history(batch: pa.RecordBatch, history: History) -> pa.Table:
    import pyarrow as pa

    before, users, items = (batch.column(k).to_numpy() for k in range(3))
    values, offsets = history.of(users, items, before)
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.int64()))
    return pa.Table.from_batches([batch]).drop_columns(["__before"]).append_column("history", lists)


def _with_live(table: pa.Table, known: TableStream | None, columns: Sequence[LiveColumn]) -> pa.Table:
    """Add the stream features of the users of the rows; NaN is null."""
    import pyarrow as pa

    if known is None:
        return table
    users, at = (table[name].to_numpy() for name in ("user_row", "at"))
    for name, values in known.of(columns, users, at).items():
        table = table.append_column(name, pa.array(values, pa.float64(), from_pandas=True))
    return table


class _Parts:
    """Parquet files of at most MAX_PART_ROWS rows in one folder; an empty split gets one empty file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.num_parts = self.room = 0
        self.writer: Any = None

    def write(self, table: pa.Table) -> None:
        while self.writer is None or table.num_rows:
            if not self.room:
                self._open(table.schema)
            self.writer.write_table(table.slice(0, self.room))
            table, self.room = table.slice(self.room), self.room - min(self.room, table.num_rows)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _open(self, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.close()
        self.writer = pq.ParquetWriter(self.folder / f"part_{self.num_parts:05d}.parquet", schema)
        self.num_parts, self.room = self.num_parts + 1, MAX_PART_ROWS
