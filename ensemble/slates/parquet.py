"""The slates of a cache as one Parquet file: a row an item of a user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_client import Id
from cascade_client.slate_entry import Entry, entry_key, user_key
from ensemble.slates.cache.base import Cache
from ensemble.slates.records import Current
from workflows.core import console
from workflows.core.disk import takes_files, writing
from workflows.core.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_out", "write_parquet"]

USERS_A_GROUP = 4096


def check_out(out: Path) -> None:
    """Refuse a file that cannot be written before anything is built.

    Raises:
        ConfigError: it is a folder, or its folder is not there or cannot be written.
    """
    if not takes_files(out.parent) or out.is_dir():
        raise ConfigError(
            f"--out {out} cannot be written: expected a file in a folder that is there and may be written"
        )


def write_parquet(cache: Cache, current: Current, users: Sequence[Id], out: Path) -> None:
    """Write the slates of users; the file is whole or not there.

    Columns: user_id and item_id (int64 or string), rank (int32, from 1), score (float), path and version (string),
    made_at (timestamp, UTC).

    Args:
        cache: where they are.
        current: the version that is written.
        users: whose slates, in this order.
        out: the file.

    Raises:
        CascadeError: the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = {"INT64": pa.int64(), "BYTES": pa.string()}
    schema = pa.schema(
        {
            "user_id": ids[current.user_id_dtype],
            "rank": pa.int32(),
            "item_id": ids[current.item_id_dtype],
            "score": pa.float32(),
            "path": pa.string(),
            "version": pa.string(),
            "made_at": pa.timestamp("ms", tz="UTC"),
        }
    )
    fresh, num_rows = out.with_name(f".{out.name}.new"), 0
    try:
        with writing("slates build", out.parent), pq.ParquetWriter(fresh, schema, compression="zstd") as file:
            for found in _groups(cache, current, users):
                table = _table(schema, found)
                num_rows += len(table)
                file.write_table(table)
        with writing("slates build", out.parent):
            fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
    console.say(f"slates build: {out} has {num_rows:,} rows")


def _groups(cache: Cache, current: Current, users: Sequence[Id]) -> Iterator[list[tuple[Id, Entry]]]:
    is_text = current.user_id_dtype == "BYTES"
    for start in range(0, len(users), USERS_A_GROUP):
        part = users[start : start + USERS_A_GROUP]
        values = cache.get([entry_key(current.version, user_key(user, is_text) or b"") for user in part])
        entries = map(Entry.from_bytes, values)
        yield [(user, entry) for user, entry in zip(part, entries, strict=True) if entry is not None]


def _table(schema: pa.Schema, found: Sequence[tuple[Id, Entry]]) -> pa.Table:
    import pyarrow as pa

    counts = np.array([len(entry.item_ids) for _, entry in found], np.int64)
    of_item = np.repeat(np.arange(len(found)), counts)

    def repeated(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(pa.array(of_item))

    first = np.repeat(np.cumsum(counts) - counts, counts)
    columns = {
        "user_id": repeated([user for user, _ in found], schema.field("user_id").type),
        "rank": pa.array((np.arange(len(of_item)) - first + 1).astype(np.int32)),
        "item_id": pa.array([item for _, entry in found for item in entry.item_ids], schema.field("item_id").type),
        "score": pa.array(np.concatenate([entry.scores for _, entry in found] or [np.zeros(0, np.float32)])),
        "path": repeated([entry.path for _, entry in found], pa.string()),
        "version": repeated([entry.version for _, entry in found], pa.string()),
        "made_at": repeated([entry.made_at_ms for _, entry in found], schema.field("made_at").type),
    }
    return pa.table(columns, schema)
