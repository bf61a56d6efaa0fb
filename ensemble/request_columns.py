"""Raw context columns of data/ as the inputs of a request, to query a chain about logged events."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.request import context_column
from runtime.spec import FLOATS, Tensor
from workflows.features.config import FeatureSpec
from workflows.features.source import Column, canonical

__all__ = ["parsed_column", "request_column", "request_values"]


def request_column(tensor: Tensor, values: pa.ChunkedArray) -> NDArray:
    """One input of a request.

    Args:
        tensor: the input.
        values: raw values [n] of its column.

    Returns:
        [n] in the input's type: int64, floats or objects of UTF-8 bytes; null is the smallest int64, NaN or b"".
    """
    given = request_values(tensor, values)
    if tensor.dtype in FLOATS:
        return np.asarray(given.to_numpy(), tensor.numpy_dtype)
    if tensor.dtype == "INT64":
        return np.asarray(pc.fill_null(given, NULL_INT).to_numpy())
    texts = np.empty(len(given), object)
    texts[:] = [(text or "").encode() for text in given.to_pylist()]
    return texts


def parsed_column(tensor: Tensor, values: pa.ChunkedArray) -> NDArray:
    """The same as the steps of a chain have it: [n] floats (NaN: null), or objects, integers or bytes (None: null)."""
    return context_column(tensor, request_column(tensor, values)[:, None], len(values))


def request_values(tensor: Tensor, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Raw values in the type of a request: float64, int64 or string, whatever the table's is."""
    kind: Literal["float64", "int64"] = "float64" if tensor.dtype in FLOATS else "int64"
    return canonical(values, Column(tensor.name, FeatureSpec(), "string" if tensor.dtype == "BYTES" else kind))
