"""The three tables of data/ that features come from: users and items by row, and the events with their context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from runtime.encoders import NULL_INT
from workflows.core.artefacts import Manifest, read_manifest
from workflows.core.errors import ArtefactError, ConfigError, DataError
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.features.schema import ITEM_ID, USER_ID, Side, input_name
from workflows.features.source import Column, Piece, canonical, pieces, read_piece, resolve
from workflows.tables.info import DataInfo, IdType

__all__ = ["SPLITS", "Layout", "RowTable", "context_columns", "context_table", "read_layout", "row_table", "train_rows"]

SPLITS = ("train", "valid", "test")
FIXED_EVENT_COLUMNS = ("user_row", "item_row", "at", "history")


class Layout(msgspec.Struct, frozen=True):
    """What the manifest of data/ says about its columns."""

    folder: Path
    id_types: dict[Literal["item", "user"], IdType]
    id_columns: dict[str, str]
    labels: list[str]
    position: str | None
    num_rows: dict[str, int]
    history_length: int

    def input_name(self, side: Side, number: int, column: str) -> str:
        """The name of a feature: another than those of the columns that are encoded beside it."""
        return input_name(side, number, column, [*self.labels, *([self.position] if self.position else [])])


class RowTable(msgspec.Struct, frozen=True):
    """The users or the items: raw ids and feature columns in row order.

    Attributes:
        ids: raw ids by row, int64 or UTF-8 bytes.
        columns: the id column under its feature name, then the feature columns.
        pieces: of the table's file.
    """

    ids: np.ndarray
    columns: list[Column]
    pieces: list[Piece]

    def read(self, number: int, keep: np.ndarray | None = None) -> pa.Table:
        """The canonical rows of one piece; only those of `keep` (bool, by row of the whole table) if given."""
        piece = self.pieces[number]
        rows = slice(piece.offset, piece.offset + piece.num_rows)
        id_column, *others = self.columns
        raw = _raw(piece, others) if others else None
        table = pa.table(
            {
                id_column.name: _ids(self.ids[rows]),
                **{column.name: canonical(raw[column.column], column) for column in others if raw is not None},
            }
        )
        return table if keep is None else table.filter(pa.array(keep[rows]))


def read_layout(folder: Path) -> Layout:
    """Read the manifest of data/."""
    manifest: Manifest = read_manifest(folder)
    info, data = DataInfo.of(manifest, folder), manifest.config["data"]
    return Layout(
        folder=folder,
        id_types=info.id_type,
        id_columns={"user": data["user_id"], "item": data["item_id"]},
        labels=list(info.labels),
        position=data.get("position"),
        num_rows={split: sum(p.num_rows for p in pieces(folder / split, "cpu")) for split in SPLITS},
        history_length=info.history_length,
    )


def row_table(
    layout: Layout, side: Literal["user", "item"], config: FeaturesConfig, device: Literal["cpu", "gpu"]
) -> RowTable:
    """Open the users or the items.

    Raises:
        ConfigError, DataError: a feature's column is absent or its type does not fit.
        ArtefactError: the table has another number of rows than there are ids.
    """
    table = f"{side}s"
    path = layout.folder / f"{table}.parquet"
    ids = np.load(layout.folder / "ids" / f"{table}.npy", mmap_mode="r", allow_pickle=False)
    schema = pq.read_schema(path)
    specs: Mapping[str, FeatureSpec] = config.users if side == "user" else config.items
    id_name = USER_ID if side == "user" else ITEM_ID
    id_column = Column(id_name, FeatureSpec(), layout.id_types[side], raw=layout.id_columns[side])
    found = [
        resolve(schema, column, spec, table=table, usable=schema.names, name=layout.input_name(side, number, column))
        for number, (column, spec) in enumerate(specs.items(), start=1)
    ]
    opened = RowTable(ids, [id_column, *found], pieces(path, device, config.num_partitions))
    rows = sum(piece.num_rows for piece in opened.pieces)
    if rows != len(ids):
        raise ArtefactError(f"{path} has {rows} rows for {len(ids)} ids; run cascade prepare --force")
    return opened


def context_columns(layout: Layout, config: FeaturesConfig) -> list[Column]:
    """The raw context columns of the events, in the order of the config.

    Raises:
        ConfigError: a feature's column is absent, or is a label or the position (unknown when a slate is asked for).
        DataError: its type does not fit, or there is no training event.
    """
    if not (train := pieces(layout.folder / "train", "cpu")):
        raise DataError("the training split has no events to learn from; change [split]")
    schema = pq.read_schema(train[0].path)
    hidden = [*layout.labels, *([layout.position] if layout.position else [])]
    for name in config.context:
        if name in hidden:
            role = "the position" if name == layout.position else "a label"
            raise ConfigError(f"features.context.{name}: {name!r} is {role}, which no request can carry; remove it")
    usable = [name for name in schema.names if name not in (*FIXED_EVENT_COLUMNS, *hidden)]
    return [
        resolve(schema, column, spec, table="context", usable=usable, name=layout.input_name("context", number, column))
        for number, (column, spec) in enumerate(config.context.items(), start=1)
    ]


def train_rows(layout: Layout, num_users: int, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Which users and which items occur in a training event: bool [U], bool [N]."""
    users, items = np.zeros(num_users, bool), np.zeros(num_items, bool)
    for piece in pieces(layout.folder / "train", "cpu"):
        rows = read_piece(piece, ["user_row", "item_row"])
        users[rows["user_row"].to_numpy()] = True
        item_rows = rows["item_row"].to_numpy()
        items[item_rows[item_rows >= 0]] = True
    return users, items


def _ids(ids: np.ndarray) -> pa.Array:
    if ids.dtype.kind == "S":
        return pa.array(ids.tolist(), pa.binary()).cast(pa.string())
    return pa.array(np.asarray(ids, np.int64))


def context_table(piece: Piece, columns: Sequence[Column]) -> pa.Table:
    """The canonical context columns of a piece of the events; what a request takes for null is null here too."""
    raw = _raw(piece, columns)
    return pa.table({column.name: canonical(_as_requested(raw[column.column]), column) for column in columns})


def _as_requested(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as a request can give them: an empty text and the smallest integer are its nulls."""
    if pa.types.is_dictionary(values.type) and len(values):
        return pa.chunked_array([_without_empty(chunk) for chunk in values.chunks])
    null = NULL_INT if pa.types.is_int64(values.type) else "" if _is_text(values.type) else None
    if null is None:
        return values
    return pc.if_else(pc.equal(values, null), pa.scalar(None, values.type), values)


def _without_empty(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    at = pc.index(coded.dictionary, "").as_py()
    if at < 0:
        return coded
    indices = pc.if_else(pc.equal(coded.indices, at), pa.scalar(None, coded.indices.type), coded.indices)
    return pa.DictionaryArray.from_arrays(indices, coded.dictionary)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _raw(piece: Piece, columns: Sequence[Column]) -> pa.Table:
    texts = [column.column for column in columns if column.dtype == "string" and not column.is_list]
    return read_piece(piece, [column.column for column in columns], texts)
