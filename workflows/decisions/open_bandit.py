"""The Open Bandit Dataset as a decision log: one CSV row a display, with the probability that the item had there.

Its tables have `timestamp, item_id, position, click, propensity_score`, then features; `item_context.csv` beside them
lists the items. A display is a slate of one item. Users are not in it, so each display counts as one of its own, and
intervals are as narrow as that makes them.

Reference: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline", NeurIPS 2021 (datasets).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from workflows.core.disk import writing
from workflows.core.errors import CascadeError, DataError

__all__ = ["ITEMS_FILE", "read_open_bandit", "read_open_bandit_items", "write_open_bandit", "write_uniform"]

ITEMS_FILE = "item_context.csv"
COLUMNS = {
    "timestamp": pa.string(),
    "item_id": pa.int64(),
    "position": pa.int64(),
    "click": pa.float64(),
    "propensity_score": pa.float64(),
}
ROWS_PER_GROUP = 100_000


def read_open_bandit(path: Path) -> pa.Table:
    """The displays of a CSV file as a decision log.

    Returns:
        request_id (row-0 and on), user_id (the same), item_ids, propensity and rewards (lists of one), at, position.

    Raises:
        DataError: the file cannot be read, a column is missing, or one holds what it cannot.
    """
    table = _read(path, COLUMNS)
    holes = [name for name in COLUMNS if table[name].null_count]
    if holes:
        raise DataError(f"{path}: column {holes[0]} has no value in some rows; every display has one")
    try:
        at = pc.cast(table["timestamp"], pa.timestamp("us", "UTC"))
    except pa.ArrowException as error:
        raise DataError(f"{path}: column timestamp holds what is no time with its zone ({error})") from error
    ids = pa.array([f"row-{row}" for row in range(table.num_rows)])
    return pa.table(
        {
            "request_id": ids,
            "user_id": ids,
            "item_ids": _ones(table["item_id"]),
            "propensity": _ones(table["propensity_score"]),
            "rewards": _ones(table["click"]),
            "at": at,
            "position": table["position"],
        }
    )


def read_open_bandit_items(path: Path, log: pa.Table) -> pa.Array:
    """All items that could be displayed, ascending: those of `item_context.csv` beside a file, or those displayed.

    Raises:
        DataError: the items file cannot be read.
    """
    beside = path.parent / ITEMS_FILE
    ids = _read(beside, {"item_id": pa.int64()})["item_id"] if beside.is_file() else pc.list_flatten(log["item_ids"])
    distinct = pc.unique(ids)
    return distinct.take(pc.sort_indices(distinct))


def write_open_bandit(path: Path, out: Path) -> pa.Table:
    """Write the displays of a CSV file as the Parquet of a decision log; returns it.

    Raises:
        DataError: see `read_open_bandit`.
        CascadeError: the disk is full, or the file cannot be written.
    """
    table = read_open_bandit(path)
    with writing("log import", out.parent), _new(out, table.schema) as writer:
        writer.write_table(table)
    return table


def write_uniform(log: pa.Table, items: pa.Array, out: Path) -> None:
    """Write the choices of a policy that shows every item alike at each request of a log.

    Raises:
        CascadeError: the disk is full, or the file cannot be written.
    """
    ids = log["request_id"].combine_chunks()
    schema = pa.schema(
        {
            "request_id": pa.string(),
            "candidate_ids": pa.list_(pa.int64()),
            "candidate_scores": pa.list_(pa.float64()),
            "temperature": pa.float64(),
        }
    )
    with writing("log import", out.parent), _new(out, schema) as writer:
        for start in range(0, len(ids), ROWS_PER_GROUP):
            part = ids.slice(start, ROWS_PER_GROUP)
            ends = pa.array(np.arange(len(part) + 1, dtype=np.int32) * len(items))
            every = pa.array(np.tile(items.to_numpy(), len(part)))
            columns = [
                part,
                pa.ListArray.from_arrays(ends, every),
                pa.ListArray.from_arrays(ends, pa.array(np.zeros(len(every)))),
                pa.array(np.ones(len(part))),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _new(out: Path, schema: pa.Schema) -> pq.ParquetWriter:
    if out.is_dir() or not next(each for each in out.parents if each.exists()).is_dir():
        raise CascadeError(f"log import: {out} cannot be a file there; give another name for the Parquet file")
    out.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(out, schema)


def _read(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(include_columns=list(types), column_types=types)
    try:
        return pyarrow.csv.read_csv(path, convert_options=options)
    except (KeyError, pa.ArrowKeyError) as error:
        wanted = ", ".join(types)
        raise DataError(f"{path}: {error.args[0]}; a table of the Open Bandit Dataset has {wanted}") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table of the Open Bandit Dataset ({error})") from error


def _ones(column: pa.ChunkedArray) -> pa.Array:
    """Each value as a list of one."""
    values = column.combine_chunks()
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values)
