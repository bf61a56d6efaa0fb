"""A named array of a request, of a response, or between two steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FLOATS", "Tensor"]

NUMPY_DTYPES: dict[str, type[np.generic]] = {
    "INT32": np.int32,
    "INT64": np.int64,
    "FP32": np.float32,
    "FP64": np.float64,
    "BOOL": np.bool_,
    "BYTES": np.object_,
}
# The types in which NaN says "not given".
FLOATS = ("FP32", "FP64")


@dataclass(frozen=True)
class Tensor:
    """A named array of shape [B, length].

    Attributes:
        name: unique within a request or between two steps.
        dtype: Triton's name of it: INT32, INT64, FP32, FP64, BOOL or BYTES.
        length: columns; -1 where each request may have its own number.
        optional: a request may leave it out.
    """

    name: str
    dtype: str
    length: int = 1
    optional: bool = False

    @property
    def numpy_dtype(self) -> type[np.generic]:
        """The dtype of the array in this process; BYTES are objects."""
        return NUMPY_DTYPES[self.dtype]
