"""Raw context columns of data/ as the inputs of a request, to query a chain about logged events."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.spec import FLOATS, Tensor
from workflows.features.config import FeatureSpec
from workflows.features.source import Column, canonical

__all__ = ["request_column"]


def request_column(tensor: Tensor, values: pa.ChunkedArray) -> NDArray:
    """One input of a request.

    Args:
        tensor: the input.
        values: raw values [n] of its column.

    Returns:
        [n] in the input's type: int64, floats or objects of UTF-8 bytes; null is the smallest int64, NaN or b"".
    """
    spec = FeatureSpec()
    if tensor.dtype in FLOATS:
        numbers = canonical(values, Column(tensor.name, spec, "float64"))
        return np.asarray(numbers.to_numpy(), tensor.numpy_dtype)
    if tensor.dtype == "INT64":
        return np.asarray(pc.fill_null(canonical(values, Column(tensor.name, spec, "int64")), NULL_INT).to_numpy())
    texts = canonical(values, Column(tensor.name, spec, "string")).to_pylist()
    made = np.empty(len(texts), object)
    made[:] = [(text or "").encode() for text in texts]
    return made
