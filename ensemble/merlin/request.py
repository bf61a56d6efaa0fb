"""The value of an input that a request leaves out."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from runtime.encoders import NULL_INT

__all__ = ["null_input"]


def null_input(dtype: DTypeLike) -> NDArray:
    """The null of a type, [1, 1]: the smallest int64, NaN, or an empty text."""
    kind = np.dtype(dtype)
    if kind.kind in "OU":
        return np.array([[b""]], object)
    return np.full((1, 1), NULL_INT if kind.kind == "i" else np.nan, kind)
