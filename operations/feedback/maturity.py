"""How many of the positives that will come have come, by the age of the slate: m(age), learnt from delays.

A delay is known only where it is shorter than the slate is old, so the late ones are missing among young slates. The
product-limit estimator in reverse time takes each delay's share among those that could have been seen by then:
F(t) = product over delays d > t of 1 - n(d) / N(d), with N(d) the delays up to d of slates that are at least d old.

Reference: Lagakos, Barraj and De Gruttola, Nonparametric analysis of truncated survival data (Biometrika, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_POSITIVES", "MATURE", "Maturity", "learn_maturity"]

# From which share on a window is judged, and the positives without which nothing is known of delays.
MATURE, LEAST_POSITIVES = 0.9, 100
NUM_POINTS = 200


@dataclass(frozen=True)
class Maturity:
    """The curve of a label.

    Attributes:
        ages_s: float64 [n], ascending.
        shares: float64 [n], of the positives that have come by then, 1 at last; those that come later than any that
            was seen are not in it.
    """

    ages_s: NDArray[np.float64]
    shares: NDArray[np.float64]

    def at(self, ages_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """M of ages [n]; 0 before the first delay."""
        if not len(self.ages_s):
            return np.zeros(len(ages_s))
        place = np.searchsorted(self.ages_s, ages_s, side="right") - 1
        return np.where(place >= 0, self.shares[place], 0.0)

    @property
    def is_known(self) -> bool:
        """Whether there were enough positives."""
        return len(self.ages_s) > 0


def learn_maturity(delays_s: NDArray[np.float64], ages_s: NDArray[np.float64]) -> Maturity:
    """Learn the curve of a label.

    Args:
        delays_s: float64 [n], from the slate to the first event of the label.
        ages_s: float64 [n], of each slate now, at least its delay.

    Returns:
        The curve; an empty one of fewer than LEAST_POSITIVES.
    """
    if len(delays_s) < LEAST_POSITIVES:
        return Maturity(np.zeros(0), np.zeros(0))
    delays, counts = np.unique(delays_s, return_counts=True)
    up_to = np.searchsorted(np.sort(delays_s), delays, side="right")
    too_young = np.searchsorted(np.sort(ages_s), delays, side="left")
    kept = 1.0 - counts / (up_to - too_young)
    # F at delay i is the product of what is kept at all later ones.
    shares = np.append(np.cumprod(kept[::-1])[::-1][1:], 1.0)
    places = np.unique(np.linspace(0, len(delays) - 1, NUM_POINTS).astype(int))
    return Maturity(delays[places], shares[places])
