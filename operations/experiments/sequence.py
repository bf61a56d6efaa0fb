"""Confidence sequences: intervals that hold at every look together, so that one may look daily and stop when one likes.

The boundary is that of a normal mixture (Robbins 1970; as an asymptotic sequence Waudby-Smith et al. 2021). The clock
is the information, 1 / variance: for a difference with information t, the distance of the interval's ends from it is

    sqrt((t + r) * ln((t + r) / (r * alpha**2))) / t

for any r > 0 that does not depend on what comes later. An interval of a fixed size holds at one look alone: looked at
daily, it is wrong in a third of the experiments in which nothing differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Sequence", "tuned"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sequence:
    """A confidence sequence of one metric.

    Attributes:
        alpha: the chance that it is wrong at any look at all.
        information: r, the mixture's; see `tuned`.
    """

    alpha: float
    information: float

    def interval(self, value: ArrayLike, variance: ArrayLike) -> tuple[Floats, Floats]:
        """Both ends of the interval of a difference and its variance."""
        value, half = np.asarray(value, np.float64), self.half_width(variance)
        return value - half, value + half

    def half_width(self, variance: ArrayLike) -> Floats:
        """The distance of both ends from the difference."""
        scaled, deviation = self._scaled(variance)
        return np.asarray(deviation * np.sqrt((1 + scaled) * np.log((1 + 1 / scaled) / self.alpha**2)))

    def one_sided(self, variance: ArrayLike) -> Floats:
        """The distance of one end, where the other is not looked at: for what must not get worse."""
        scaled, deviation = self._scaled(variance)
        return np.asarray(deviation * np.sqrt(2 * (1 + scaled) * np.log1p(np.sqrt(1 + 1 / scaled) / (2 * self.alpha))))

    def p_value(self, value: ArrayLike, variance: ArrayLike) -> Floats:
        """The smallest alpha whose interval leaves out 0: it may be looked at daily, as the interval."""
        scaled, deviation = self._scaled(variance)
        squares = (np.asarray(value, np.float64) / deviation) ** 2
        return np.asarray(np.minimum(1.0, np.sqrt(1 + 1 / scaled) * np.exp(-squares / (2 * (1 + scaled)))))

    def _scaled(self, variance: ArrayLike) -> tuple[Floats, Floats]:
        """The mixture's information as a share of what is known, and the standard deviation."""
        known = np.asarray(variance, np.float64)
        return known * self.information, np.sqrt(known)


def tuned(alpha: float, variance: float) -> Sequence:
    """The sequence that is narrowest where the variance is the given one: that at the planned end, or a guess of it.

    A guess costs width, never validity.

    Example:
        >>> sequence = tuned(0.05, 1e-4)
        >>> round(float(sequence.half_width(1e-4)) / 1e-2, 2)
        3.04
    """
    twice_log = 2 * math.log(1 / alpha)
    return Sequence(alpha, 1 / (variance * (twice_log + math.log(1 + twice_log))))
