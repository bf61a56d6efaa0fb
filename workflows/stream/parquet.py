"""The events of the log as Parquet: EVENTS/parquet/ holds one file a segment, named by its offsets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runtime.stream.log.reader import Batch, read_batches
from runtime.stream.log.segments import sync_folder
from runtime.stream.set_aside import set_aside_offsets
from workflows.core.errors import DataError
from workflows.stream.arrow import schema_of, to_batch, to_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PARQUET", "EventFile", "last_arrival", "list_files", "read_file", "write_batches", "write_file"]

PARQUET, SUFFIX = "parquet", ".parquet"
ROWS = 1 << 16
# In which nothing repeats: the rest is better off with a dictionary.
DELTAS, TEXTS = ("offset", "at", "received_at"), ("event_id", "extra")


class EventFile(NamedTuple):
    """A Parquet file of events.

    Attributes:
        first_offset, next_offset: it stands for the offsets from the first up to, and without, the next.
        path: of the file.
    """

    first_offset: int
    next_offset: int
    path: Path


def list_files(folder: Path) -> list[EventFile]:
    """The Parquet files of a folder EVENTS, in order; of several that begin at one offset the longest."""
    found: dict[int, EventFile] = {}
    for path in sorted((folder / PARQUET).glob(f"*-*{SUFFIX}")):
        first, _, following = path.name.removesuffix(SUFFIX).partition("-")
        if first.isdecimal() and following.isdecimal():
            found[int(first)] = EventFile(int(first), int(following), path)
    return [found[first] for first in sorted(found)]


def write_file(folder: Path, first_offset: int, next_offset: int) -> EventFile:
    """Write events of the log to Parquet, but for those that no state could take in.

    A shorter file that begins with the same event is removed.

    Args:
        folder: EVENTS.
        first_offset: of the events.
        next_offset: behind the last of them.

    Raises:
        LogError: the log cannot be read.
        DataError: one file would hold ids of two types.
        OSError: the file cannot be written; no half of it is left.
    """
    path = folder / PARQUET / f"{first_offset:020d}-{next_offset:020d}{SUFFIX}"
    set_aside = set_aside_offsets(folder)
    batches = read_batches(folder, first_offset, next_offset, ROWS)
    write_batches(path, (batch.without(set_aside) for batch in batches))
    for shorter in path.parent.glob(f"{first_offset:020d}-*{SUFFIX}"):
        if shorter.name < path.name:
            shorter.unlink()
    return EventFile(first_offset, next_offset, path)


def write_batches(path: Path, batches: Iterable[Batch]) -> None:
    """Write a Parquet file beside its place, then put it there at once.

    Raises:
        DataError: it would hold ids of two types.
        OSError: the file cannot be written; no half of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    try:
        _write(beside, batches)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def read_file(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
    """The events of a Parquet file with offsets from `start` up to, and without, `stop`; None: its end."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, read_dictionary=["label", "kind"]) as file:
        for rows in file.iter_batches(batch_size=ROWS) if file.num_row_groups else ():
            offsets = rows["offset"].to_numpy()
            first, last = np.searchsorted(offsets, [start, offsets[-1] + 1 if stop is None else stop]).tolist()
            if first < last:
                yield to_batch(rows.slice(first, last - first))


def last_arrival(path: Path) -> int:
    """When the last event of a Parquet file arrived, nanoseconds since 1970; the smallest int64 where it has none."""
    arrivals = [int(batch.received_at.max()) for batch in read_file(path)]
    return max(arrivals, default=np.iinfo(np.int64).min)


def _write(path: Path, batches: Iterable[Batch]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing = np.zeros(0, np.int64)
    schema, file = None, None
    try:
        for batch in batches:
            if not len(batch.events):
                continue
            found = schema_of(batch.events.user, batch.events.item)
            if schema is not None and found != schema:
                raise DataError(
                    f"{path.parent}: the ids before event {batch.next_offset} are of two types; the events of two "
                    f"products cannot be one table"
                )
            schema = found
            file = file or pq.ParquetWriter(path, schema, **_options(schema))
            file.write_table(pa.Table.from_batches([to_rows(batch, schema)]))
        file = file or pq.ParquetWriter(path, schema_of(nothing, nothing))
    finally:
        if file is not None:
            file.close()


def _options(schema: pa.Schema) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in schema.names if name not in (*DELTAS, *TEXTS)],
        "column_encoding": dict.fromkeys(DELTAS, "DELTA_BINARY_PACKED"),
    }
