"""Encoded tables back as numpy arrays, for the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflows.core.errors import ArtefactError
from workflows.features.write import LENGTH

__all__ = ["num_rows", "read_table"]


def num_rows(folder: Path) -> int:
    """Rows of all parts of a folder, from their footers."""
    return sum(pq.read_metadata(part).num_rows for part in _parts(folder))


def read_table(folder: Path, columns: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """All parts of a folder of features/ (items, users, train, valid, test).

    Args:
        folder: holds part_*.parquet.
        columns: which ones, in this order; all in file order when absent.

    Returns:
        column -> [n] in its stored type, or [n, L] for lists of one length; rows in part order.

    Raises:
        ArtefactError: the folder holds no part, or lacks a column.
    """
    parts = _parts(folder)
    names = pq.read_schema(parts[0]).names
    if missing := [name for name in columns or () if name not in names]:
        raise ArtefactError(f"{folder} has no column {missing[0]!r}; its columns are {', '.join(names)}")
    wanted = list(names if columns is None else columns)
    tables = [pq.read_table(part, columns=wanted) for part in parts]
    return {name: np.concatenate([_numpy(table, name) for table in tables]) for name in wanted}


def _parts(folder: Path) -> list[Path]:
    parts = sorted(folder.glob("part_*.parquet"))
    if not parts:
        raise ArtefactError(f"{folder} holds no part_*.parquet; run cascade prepare")
    return parts


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    column = table[name]
    if not pa.types.is_list(column.type):
        return np.asarray(column.to_numpy())
    length = int((table.schema.field(name).metadata or {})[LENGTH])
    return np.asarray(column.combine_chunks().flatten().to_numpy().reshape(len(column), length))
