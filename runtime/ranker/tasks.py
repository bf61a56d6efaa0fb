"""From the logits of several tasks to the probability that each happens, and to what a display is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.ranker.sigmoid import sigmoid

__all__ = ["expected_worth", "probabilities"]


def probabilities(logits: NDArray, parents: Sequence[int]) -> NDArray:
    """Probability that each task happens: its own given its parent's, times that of the parent.

    Args:
        logits: float [..., T].
        parents: the place of each task's parent, before its own; -1: none.

    Returns:
        [..., T], in the dtype of the logits.

    Reference: Ma et al., "Entire space multi-task model", SIGIR 2018.
    """
    found: NDArray = sigmoid(logits)
    for place, parent in enumerate(parents):
        if parent >= 0:
            found[..., place] *= found[..., parent]
    return found


def expected_worth(happens: NDArray, worth: NDArray) -> NDArray[np.float32]:
    """What displays are worth on average.

    Args:
        happens: float [..., T], probability of each task.
        worth: float32 [..., 1 + T], of the display itself, then of each task that happens.

    Returns:
        float32 [...]. Tasks are added one after the other: a sum of another order would round differently.
    """
    total = worth[..., 0].astype(np.float32)
    for place in range(happens.shape[-1]):
        total += happens[..., place] * worth[..., 1 + place]
    return total
