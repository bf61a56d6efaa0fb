"""Columns of Parquet tables as the numbers and texts that they hold, whatever their types are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["floats_of", "has_texts", "is_number", "texts_of"]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers: integers, floats or decimals."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def floats_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers or booleans, float64 [N]; a null is NaN, and integers beyond 2^53 are the nearest float."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def has_texts(kind: pa.DataType) -> bool:
    """Whether each value of a column of this type can be written as a text: no list, struct or map."""
    return not pa.types.is_nested(kind)


def texts_of(column: pa.ChunkedArray, null: str) -> NDArray:
    """Values as text, object [N]; bytes that are no UTF-8 have the character U+FFFD in their place.

    Args:
        column: [N], for whose type `has_texts` holds.
        null: the text of a null.
    """
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        column = pa.chunked_array(
            [[None if value is None else value.decode(errors="replace") for value in column.to_pylist()]], pa.string()
        )
    texts: NDArray = pc.fill_null(pc.cast(column, pa.string()), null).to_numpy()
    return texts
