"""Whether predicted probabilities are too high or too low on the whole, beyond chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Estimate, Resamples, interval

__all__ = ["FEWEST_USERS", "calibration_gap"]

FEWEST_USERS = 10  # of fewer, resamples say little of what other users would have done


def calibration_gap(labels: NDArray, probabilities: NDArray, users: NDArray, resamples: Resamples) -> Estimate:
    """Mean probability minus observed share of positives, with an interval over resampled users.

    A user's rows are drawn together, since they are not independent.

    Args:
        labels: [R], 1 or 0; R at least 1.
        probabilities: [R] in [0, 1].
        users: [R], whose row it is.
        resamples: the plan.

    Returns:
        The difference, positive where the probabilities are too high; without an interval where there are fewer than
        FEWEST_USERS users.
    """
    owner = np.unique(users, return_inverse=True)[1]
    gaps = np.bincount(owner, np.asarray(probabilities, np.float64) - np.asarray(labels, np.float64))
    counts = np.bincount(owner)
    value = float(gaps.sum() / counts.sum())
    if len(counts) < FEWEST_USERS:
        return Estimate(value)
    drawn = np.concatenate([(weights @ gaps) / (weights @ counts) for weights in resamples.weights(len(counts))])
    return interval(value, drawn)
