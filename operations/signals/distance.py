"""How far a window's counts lie from a reference: PSI and Jensen-Shannon, without what chance alone gives.

Both are of counts with half a value added to each bin, so that an empty bin gives no infinite distance. The expected
distance between two samples of one distribution is about (k - 1) (1/n + 1/m) for PSI, whose terms are those of
Pearson's chi-square on either side, and an eighth of that for Jensen-Shannon in nats.

References: Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020; Lin, "Divergence
measures based on the Shannon entropy", 1991.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import Histogram

__all__ = ["LEAST_PER_BIN", "Distance", "jensen_shannon", "js", "population_stability", "psi"]

# A window with fewer values a bin says nothing.
LEAST_PER_BIN = 20
Formula = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
ADDED = 0.5


class Distance(NamedTuple):
    """A distance and what it rests on.

    Attributes:
        value: above the noise; below 0 where chance gave less than it does on average. NaN without any count.
        noise: what two samples of one distribution would show on average.
        num: n, values of the window that the distance is of.
        num_bins: k, that either side has values in.
    """

    value: float
    noise: float
    num: float
    num_bins: int

    @property
    def spread(self) -> float:
        """How far chance alone moves the value, one standard deviation: the noise is a mean of chi-square's kind."""
        return self.noise * float(np.sqrt(2 / max(self.num_bins - 1, 1)))

    @property
    def is_enough(self) -> bool:
        """Whether the window has enough values for this many bins."""
        return self.num_bins > 0 and self.num >= LEAST_PER_BIN * self.num_bins


def psi(reference: Histogram, window: Histogram) -> Distance:
    """Population stability index: the sum of (p - q) ln(p / q) over the bins.

    Args:
        reference: of the same bins.
        window: what is looked at.
    """
    return _distance(reference, window, population_stability, 1.0)


def js(reference: Histogram, window: Histogram) -> Distance:
    """Jensen-Shannon divergence in bits, 0 to 1: the mean of both sides' divergence from their mixture."""
    return _distance(reference, window, jensen_shannon, 1 / (8 * np.log(2)))


def population_stability(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Of two distributions [k] without zeros."""
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Of two distributions [k] without zeros."""
    mixture = (p + q) / 2
    return float((p * np.log2(p / mixture) + q * np.log2(q / mixture)).sum() / 2)


def _distance(reference: Histogram, window: Histogram, formula: Formula, noise_factor: float) -> Distance:
    compared = window.bins.compared
    sides = [(side.counts[compared], side.num * _part(side)) for side in (reference, window)]
    kept = (sides[0][0] + sides[1][0]) > 0
    num_bins, (m, n) = int(kept.sum()), (num for _, num in sides)
    if not m or not n:
        return Distance(np.nan, np.nan, n, num_bins)
    p, q = (_distribution(counts[kept], num) for counts, num in sides)
    noise = noise_factor * (num_bins - 1) * (1 / n + 1 / m)
    return Distance(formula(p, q) - noise, noise, n, num_bins)


def _part(side: Histogram) -> float:
    """The share of the counts that is compared."""
    total = side.counts.sum()
    return float(side.counts[side.bins.compared].sum() / total) if total else 0.0


def _distribution(counts: NDArray[np.float64], num: float) -> NDArray[np.float64]:
    """Shares [k] as `num` values would give them, half a value added to each."""
    shares: NDArray[np.float64] = (counts / counts.sum() * num + ADDED) / (num + ADDED * len(counts))
    return shares
