"""Scores rounded to a step, so that the order of two items cannot hang on the last bit of a sum. NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORE_STEP", "quantise"]

# Retrieval scores are rounded to this step, so that equal items tie exactly and ties go by row.
SCORE_STEP = 2.0**-20


def quantise(scores: NDArray, step: float) -> NDArray[np.float32]:
    """Round to a multiple of a power of two, float32: differences of the last bit vanish."""
    rounded: NDArray = scores * np.float32(1 / step)
    np.rint(rounded, out=rounded)
    rounded *= np.float32(step)
    return rounded.astype(np.float32, copy=False)
