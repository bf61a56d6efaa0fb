"""The NVTabular graphs: one of the users, the items, the context and the history."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import nvtabular as nvt
import pandas as pd
import pyarrow as pa
from dask.dataframe.io.io import from_map
from merlin.io import Dataset
from merlin.io.worker import clean_worker_cache
from merlin.schema import ColumnSchema, Schema, Tags

from workflows.features.counts import write_vocabularies
from workflows.features.operators import Buckets, Codes, HashCodes, ListCodes, Numbers, Scaled
from workflows.features.schema import HISTORY, ITEM_ID, USER_ID, Side
from workflows.features.source import ARROW, Column, Kept, to_frame

__all__ = ["arrow_type", "fit_history", "fit_workflow", "load_workflow"]

SIDE_TAGS: dict[Side, list[Tags]] = {
    "user": [Tags.USER],
    "item": [Tags.ITEM],
    "context": [Tags.CONTEXT],
    "history": [Tags.SEQUENCE, Tags.LIST],
}
ID_TAGS = {USER_ID: [Tags.USER_ID, Tags.ID], ITEM_ID: [Tags.ITEM_ID, Tags.ID]}
BUDGET_BYTES = {"cpu": 2 << 30, "gpu": 0}
LIST_DIMS = ((0, None), (0, None))


def fit_workflow(
    side: Side,
    columns: Sequence[Column],
    read: Callable[[int], pa.Table],
    num_pieces: int,
    device: Literal["cpu", "gpu"],
    stats: Path,
) -> nvt.Workflow:
    """Fit the workflow of one side, piece by piece: vocabularies by counting, statistics by piece through Dask.

    NVTabular reads a piece once for each statistic and, to sample types, encodes the whole first one. So the pieces are
    kept as far as they fit BUDGET_BYTES, and the first one holds a single row.

    Args:
        side: decides the tags.
        columns: raw columns, at least one.
        read: piece number -> its canonical rows of the train split.
        num_pieces: how many pieces there are.
        device: pandas or cuDF.
        stats: where Categorify writes its vocabularies while it fits; must be new (NVTabular caches them by path).

    Returns:
        The fitted workflow: one output a column, under the column's name.
    """
    meta = to_frame(pa.schema([(column.name, arrow_type(column)) for column in columns]).empty_table(), device)
    tables = Kept(read, lambda table: table.nbytes, BUDGET_BYTES[device])
    # cuDF counts scalars itself, faster than a trip over host memory; stock Categorify mixes up null and empty lists.
    kinds = ("categorical", "list") if device == "cpu" else ("list",)
    counted = [column for column in columns if column.spec.kind in kinds]
    vocabularies = write_vocabularies(counted, tables, num_pieces, stats / "categories")
    nodes = [_node(side, column, stats, vocabularies) for column in columns]
    graph = functools.reduce(lambda left, right: left + right, nodes)
    frames = Kept(TrainingFrames(tables, num_pieces, device), _frame_bytes, BUDGET_BYTES[device])
    ddf = from_map(frames, range(num_pieces + 1), meta=meta)
    return nvt.Workflow(graph).fit(Dataset(ddf, cpu=device == "cpu", schema=_schema(columns)))


class TrainingFrames:
    """Frames to fit on, by number: one row to sample types from, then each piece.

    On a CPU, where vocabularies are counted elsewhere, the one row holds nulls, so that no vocabulary is opened for it.
    On a GPU it is a row of the first piece that has any, and that piece goes without it.

    Args:
        read: piece number -> its canonical rows of the train split.
        num_pieces: how many pieces there are.
        device: pandas or cuDF.
    """

    def __init__(self, read: Callable[[int], pa.Table], num_pieces: int, device: Literal["cpu", "gpu"]) -> None:
        self._read, self._device = read, device
        self._first = next((number for number in range(num_pieces) if read(number).num_rows), 0)

    def __call__(self, number: int) -> Any:
        """The frame of a number."""
        if number == 0:
            return to_frame(self._sample(), self._device)
        table = self._read(number - 1)
        taken = self._device == "gpu" and number - 1 == self._first
        return to_frame(table.slice(1) if taken else table, self._device, numbers_only=True)

    def _sample(self) -> pa.Table:
        row = self._read(self._first).slice(0, 1)
        return row if self._device == "gpu" else pa.table({field.name: pa.nulls(1, field.type) for field in row.schema})


def _frame_bytes(frame: Any) -> int:
    return int(frame.memory_usage(deep=False).sum())


def fit_history(
    vocabulary: Path, column: Column, length: int, device: Literal["cpu", "gpu"], stats: Path
) -> nvt.Workflow:
    """The history workflow: recent raw item ids -> their item codes, the latest `length`, padded right with 0.

    Args:
        vocabulary: Categorify's file of the item_id vocabulary; the history shares it.
        column: the list column of the raw ids.
        length: L.
        device: pandas or cuDF.
        stats: where the shared vocabulary is kept under the history's name; must be new.
    """
    shared = stats / "categories" / f"unique.{HISTORY}.parquet"
    shared.parent.mkdir(parents=True)
    pd.read_parquet(vocabulary).rename(columns={ITEM_ID: HISTORY}).to_parquet(shared)
    encode = ListCodes(
        elements=column.dtype,
        separator=None,
        length=length,
        from_end=True,
        vocabs={HISTORY: str(shared)},
        out_path=str(stats),
        dtype=np.int32,
    )
    graph = [HISTORY] >> encode >> nvt.ops.AddMetadata(tags=SIDE_TAGS["history"])
    empty = pa.schema([(HISTORY, arrow_type(column))]).empty_table()
    return nvt.Workflow(graph).fit(Dataset(to_frame(empty, device), cpu=device == "cpu", schema=_schema([column])))


def load_workflow(folder: Path) -> nvt.Workflow:
    """Load a fitted workflow; vocabularies that NVTabular may have cached under the same path are dropped first."""
    clean_worker_cache()
    return nvt.Workflow.load(str(folder))


def _node(side: Side, column: Column, stats: Path, vocabularies: Mapping[str, str]) -> Any:
    tags = SIDE_TAGS[side] + ID_TAGS.get(column.name, [])
    return _encoded(column, stats, vocabularies) >> nvt.ops.AddMetadata(tags=tags)


def _encoded(column: Column, stats: Path, vocabularies: Mapping[str, str]) -> Any:
    spec, selected = column.spec, [column.name]
    counted: dict[str, Any] = {"freq_threshold": spec.min_frequency, "out_path": str(stats)}
    if column.name in vocabularies:
        counted["vocabs"] = {column.name: vocabularies[column.name]}
    if spec.kind == "continuous":
        numbers = selected >> Numbers(log=spec.log)
        scaled = (numbers >> nvt.ops.LogOp()) if spec.log else numbers
        # Nulls are filled after scaling: a missing value is an average one, as for a user without a row.
        return scaled >> Scaled() >> nvt.ops.FillMissing(0.0)
    if spec.kind == "bucketised":
        return selected >> Buckets(column.boundaries)
    if spec.kind == "hashed":
        return selected >> HashCodes(spec.num_buckets)
    if spec.kind == "list":
        separator = None if column.is_list else spec.separator
        return selected >> ListCodes(
            elements=column.dtype, separator=separator, length=spec.max_length, dtype=np.int32, **counted
        )
    return selected >> Codes(elements=column.dtype, dtype=np.int32, **counted)


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a canonical column."""
    return pa.list_(ARROW[column.dtype]) if column.is_list else ARROW[column.dtype]


def _schema(columns: Sequence[Column]) -> Schema:
    return Schema([ColumnSchema(c.name, dtype=c.dtype, dims=LIST_DIMS if c.is_list else ((0, None),)) for c in columns])
