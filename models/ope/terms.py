"""An estimate as a mean over slates, whose spread over users says how far it may be off.

A ratio of sums R = sum(w r) / sum(w) is to first order the mean of R + w (r - R) / mean(w) (Taylor linearisation:
Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", 1992, section 5.6). Weights that are normalised by a
mean that is taken for fixed give intervals several times too wide.
"""

from __future__ import annotations

import msgspec
import numpy as np

from models.ope.slates import Floats

__all__ = ["Terms", "mean_of", "ratio_of"]


class Terms(msgspec.Struct, frozen=True):
    """What each slate adds.

    Attributes:
        value: the estimate, a reward a slate; NaN where no weight is above 0.
        pulls: float64 [N], whose mean is `value`, linearised where the estimate is a ratio.
    """

    value: float
    pulls: Floats

    def __add__(self, other: Terms) -> Terms:
        return Terms(self.value + other.value, self.pulls + other.pulls)

    def __sub__(self, other: Terms) -> Terms:
        return Terms(self.value - other.value, self.pulls - other.pulls)


def mean_of(values: Floats) -> Terms:
    """The mean of values [N]."""
    return Terms(float(values.mean()), values)


def ratio_of(weights: Floats, values: Floats) -> Terms:
    """The mean of values [N] under weights [N]."""
    total = weights.mean()
    if not total > 0:
        return Terms(float("nan"), np.full(len(weights), np.nan))
    value = float((weights * values).mean() / total)
    return Terms(value, value + weights * (values - value) / total)
