"""Columns of the Parquet files of MON as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core.errors import ArtefactError

__all__ = ["coded", "columns_of", "numbers", "read_requests", "together", "weights"]


def read_requests(path: Path, columns: Sequence[str]) -> pa.Table | None:
    """Columns of the rows of a file that are of an experiment, those that it has; None where there are no such rows."""
    try:
        there = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        there = ["experiment", *columns]  # the next read says why
    if "experiment" not in there:
        return None
    table = columns_of(path, [name for name in columns if name in there])
    return table.filter(pc.is_valid(table["experiment"])) if table.num_rows else None


def columns_of(path: Path, names: Sequence[str]) -> pa.Table:
    """Columns of a file, with no dictionaries of its own."""
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(list(names))
    except FileNotFoundError:  # pruned, or written anew meanwhile
        return pa.table({name: [] for name in names})
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); `cascade log verify` says which files are whole"
        ) from None
    return pa.table(dict(_plain(table, names)))


def together(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    """The rows of several tables; of none the columns alone."""
    if not tables:
        return pa.table({name: [] for name in names})
    # A file that was pruned meanwhile has columns of no type.
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def numbers(column: pa.ChunkedArray, missing: int = 0) -> NDArray[np.int64]:
    """Whole numbers, with what is missing as another one."""
    values = pc.fill_null(column.cast(pa.int64()), missing).to_numpy()
    return np.asarray(values, np.int64)


def weights(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers, with what is missing as 0."""
    return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), 0.0).to_numpy(), np.float64)


def coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[Any]]:
    """A code for each value, -1 for none, and the values by code."""
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, np.int64), []
    encoded = pc.dictionary_encode(column.combine_chunks())
    return numbers(encoded.indices, -1), encoded.dictionary.to_pylist()


def _plain(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for name in names:
        column = table[name]
        yield name, column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
