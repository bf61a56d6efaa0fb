"""Vocabularies counted in Arrow: the values of a column by how often they occur, in the file that Categorify reads.

Categorify's own counting copies, groups, sorts and splits every piece in pandas, one column after the other. Here a
piece is counted by dictionary index, columns side by side. What stays, its order and the file are Categorify's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from nvtabular.ops.categorify import _save_encodings

from runtime.encoders import split_text
from workflows.features.source import ARROW, Column

__all__ = ["list_elements", "write_empty", "write_vocabularies"]


def write_vocabularies(
    columns: Sequence[Column], read: Callable[[int], pa.Table], num_pieces: int, folder: Path
) -> dict[str, str]:
    """Count the values, or list elements, of each column over all pieces and write its unique.NAME.parquet.

    Args:
        columns: categorical and list ones.
        read: piece number -> its canonical rows of the train split.
        num_pieces: how many pieces there are.
        folder: where the files go.

    Returns:
        Column name -> path of its file: values by descending count, ties as pandas' sort_values leaves them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, list[pa.Table]] = {column.name: [] for column in columns}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number in range(num_pieces):
            table = read(number)
            counted = pool.map(_count, [table[column.name] for column in columns], columns)
            for name, found in zip(counts, counted, strict=True):
                counts[name].append(found)
        paths = pool.map(lambda c: _write(c, counts[c.name], folder), columns)
        return dict(zip(counts, paths, strict=True))


def list_elements(value: Any, separator: str | None) -> list[Any]:
    """The elements of a list, or the parts of a separated string; nulls and blanks are left out."""
    if _is_null(value):
        return []
    if isinstance(value, str):
        return split_text(value, separator) if separator else [value]
    return [element for element in value if not _is_null(element)]


def write_empty(path: Path, name: str, elements: str) -> None:
    """The vocabulary of a column without any value, for which Categorify writes no file."""
    empty = {name: pd.Series(dtype=elements), f"{name}_size": pd.Series(dtype="int64")}
    pd.DataFrame(empty).to_parquet(path)


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _count(values: pa.ChunkedArray, column: Column) -> pa.Table:
    """How often each value or element occurs in a piece: `value`, `count` (int64); nulls are left out."""
    if column.is_list:
        return _value_counts(pc.list_flatten(values), column)
    counted = _value_counts(values, column)
    if column.spec.kind != "list":
        return counted
    parts = [list_elements(text, column.spec.separator) for text in counted["value"].to_pylist()]
    weights = np.repeat(counted["count"].to_numpy(), [len(elements) for elements in parts])
    flat = pa.array([element for elements in parts for element in elements], pa.string())
    return pa.table({"value": flat, "count": weights})


def _value_counts(values: pa.ChunkedArray, column: Column) -> pa.Table:
    found = values.unify_dictionaries().value_counts()
    return pa.table(
        {"value": found.field("values").cast(ARROW[column.dtype]), "count": found.field("counts")}
    ).drop_null()


def _write(column: Column, counts: Sequence[pa.Table], folder: Path) -> str:
    name, size = column.name, f"{column.name}_size"
    total = pa.concat_tables(counts).group_by("value").aggregate([("count", "sum")]).sort_by("value")
    if not total.num_rows:
        path = folder / f"unique.{name}.parquet"
        write_empty(path, name, "object" if column.dtype == "string" else column.dtype)
        return str(path)
    frame = pd.DataFrame({name: total["value"].to_pandas(), size: total["count_sum"].to_numpy()})
    frame = frame.sort_values(size, ascending=False, ignore_index=True)
    return str(_save_encodings(frame, folder, name, freq_threshold=column.spec.min_frequency, null_size=0))
