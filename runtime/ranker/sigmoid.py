"""From logits to probabilities. NumPy alone: the server runs this file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["sigmoid"]

# exp(80) is still a float32; no model gives a lower logit.
LOWEST_LOGIT = np.float32(-80)


def sigmoid(logits: NDArray) -> NDArray:
    """1 / (1 + exp(-x)), float32, without overflow."""
    result: NDArray = np.exp(-np.maximum(logits, LOWEST_LOGIT))
    result += 1
    np.reciprocal(result, out=result)
    return result
