"""Encoded tables and events as Parquet parts: int32 codes, float32 values, int32 lists of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runtime.encoders import latest
from workflows.features.schema import Feature

__all__ = ["LENGTH", "event_columns", "feature_columns", "fixed_lists", "history_codes", "write_part"]

LENGTH = b"length"  # key of the metadata of a list column's field


def fixed_lists(matrix: np.ndarray) -> pa.ListArray:
    """A matrix [n, L] as a list column of n lists of length L."""
    rows, length = matrix.shape
    offsets = np.arange(0, (rows + 1) * length, length, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(matrix).reshape(-1)))


def feature_columns(encoded: Mapping[str, Any], features: Sequence[Feature]) -> dict[str, pa.Array]:
    """The columns of an encoded table (arrays or pandas series) in their final types, in feature order."""
    return {feature.name: _column(encoded[feature.name], feature) for feature in features}


def _column(values: Any, feature: Feature) -> pa.Array:
    if feature.length:
        matrix = np.asarray(values)
        if matrix.ndim == 1:  # a series of lists
            matrix = np.stack(list(matrix)) if len(matrix) else np.zeros((0, feature.length), np.int32)
        return fixed_lists(matrix)
    return pa.array(np.asarray(values, np.int32 if feature.kind == "categorical" else np.float32))


def history_codes(history: pa.ChunkedArray, item_codes: np.ndarray, length: int) -> np.ndarray:
    """Recent item rows -> item codes.

    Args:
        history: lists of item rows, oldest first.
        item_codes: int32 [N], the item_id code of each item row.
        length: L.

    Returns:
        int32 [n, L], the latest L of each list, oldest first, padded right with 0: what the history workflow gives
        for the raw ids of those rows.
    """
    whole = history.combine_chunks()
    offsets = whole.offsets.to_numpy()
    rows = whole.values.to_numpy()[offsets[0] : offsets[-1]]
    return latest(item_codes[rows], np.diff(offsets).astype(np.int64), length, from_end=True)


def event_columns(raw: pa.Table, labels: Sequence[str], position: str | None) -> dict[str, pa.Array]:
    """The columns of the events that are not features, in their final types."""
    types: Mapping[str, pa.DataType] = {
        "user_row": pa.int32(),
        "item_row": pa.int32(),
        "at": pa.int64(),
        **{label: pa.float32() for label in labels},
        **({position: pa.int32()} if position else {}),
    }
    return {name: raw[name].cast(kind) for name, kind in types.items()}


def write_part(folder: Path, number: int, columns: Mapping[str, pa.Array], features: Sequence[Feature]) -> None:
    """Write part `number` of a folder; list columns keep their fixed length in the metadata of their field."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {feature.name: str(feature.length) for feature in features if feature.length}
    fields = [
        pa.field(name, array.type, metadata={LENGTH: lengths[name]} if name in lengths else None)
        for name, array in columns.items()
    ]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    path = folder / f"part_{number:05d}.parquet"
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=False)
