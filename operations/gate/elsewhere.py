"""How much of a distribution lies elsewhere than another's, where each was counted into bins of its own.

0: nothing; 1: all of it. What chance alone would move is taken off. Of codes and texts that is half the sum of the
differences of the shares. Of numbers, whose edges are each side's own, it is the largest difference of the cumulative
shares that the edges prove: of what lies between two edges nothing is claimed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import MOST_VALUES, NUM_BINS, Histogram, NumberBins, ValueBins
from ensemble.profile.make import LEAST_OF_CODE

__all__ = ["elsewhere", "nulls_more", "of_shares"]

Floats = NDArray[np.float64]


def elsewhere(served: Histogram, candidate: Histogram) -> float:
    """The share of the candidate's values that lies elsewhere.

    Args:
        served: of a column or feature.
        candidate: of the same one; where one is of codes and one of numbers, they have nothing in common.
    """
    if isinstance(served.bins, ValueBins) and isinstance(candidate.bins, ValueBins):
        return _of_values(served, served.bins, candidate, candidate.bins)
    if isinstance(served.bins, NumberBins) and isinstance(candidate.bins, NumberBins):
        return max(_of_numbers(served, served.bins, candidate, candidate.bins), nulls_more(served, candidate))
    return 1.0


def nulls_more(served: Histogram, candidate: Histogram) -> float:
    """How much larger the share of nulls is; below 0 where it is smaller."""
    return _null_share(candidate) - _null_share(served)


def of_shares(served: Floats, candidate: Floats, num: tuple[float, float]) -> float:
    """Half the sum of the differences, without what chance gives on average.

    Args:
        served: shares [k] with the sum 1.
        candidate: likewise.
        num: of how many values each is.
    """
    both = (served + candidate) / 2
    chance = np.sqrt(2 / np.pi * both * (1 - both) * sum(1 / max(n, 1.0) for n in num)).sum()
    return max(0.0, float(np.abs(served - candidate).sum() - chance) / 2)


def _of_values(served: Histogram, mine: ValueBins, candidate: Histogram, other: ValueBins) -> float:
    """What a side has no bin of its own for is among its other values, as far as so rare a value can be."""
    sides = [_shares(served, mine), _shares(candidate, other)]
    names = sorted({*sides[0].held, *sides[1].held}, key=str)
    given = [np.array([side.held.get(name, 0.0) for name in names]) for side in sides]
    for side, own, there in ((sides[0], given[0], given[1]), (sides[1], given[1], given[0])):
        lacking = np.array([name not in side.held for name in names])
        may_be = np.where(lacking, np.minimum(there, side.rarest), 0.0)
        own += may_be * min(1.0, side.others / max(float(may_be.sum()), 1e-12))
    shares = [np.append(own, max(0.0, 1 - float(own.sum()))) for own in given]
    return of_shares(shares[0], shares[1], (served.num, candidate.num))


class _Shares(NamedTuple):
    """Of the values with a bin of their own and of nulls, of all others, and the most that one of those can have."""

    held: dict[int | str | None, float]
    others: float
    rarest: float


def _shares(histogram: Histogram, bins: ValueBins) -> _Shares:
    shares = histogram.counts / max(float(histogram.counts.sum()), 1.0)
    held: dict[int | str | None, float] = dict(zip(bins.values.tolist(), shares.tolist(), strict=False))
    rarest = LEAST_OF_CODE / max(histogram.num, 1.0)
    if len(bins.values) >= MOST_VALUES:
        rarest = max(rarest, float(shares[: len(bins.values)].min()))
    return _Shares(held | {None: float(shares[-1])}, float(shares[-2]), rarest)


def _of_numbers(served: Histogram, mine: NumberBins, candidate: Histogram, other: NumberBins) -> float:
    if not len(mine.edges) or not len(other.edges):
        return 0.0
    ends = [np.cumsum(h.counts[h.bins.compared])[:-1] for h in (served, candidate)]
    totals = [float(h.counts[h.bins.compared].sum()) for h in (served, candidate)]
    if not all(totals):
        return 0.0
    below = [end / total for end, total in zip(ends, totals, strict=True)]
    gap = max(
        _proved(mine.edges, below[0], other.edges, below[1]), _proved(other.edges, below[1], mine.edges, below[0])
    )
    return max(0.0, gap - float(np.sqrt(sum(1 / max(h.num, 1.0) for h in (served, candidate)))))


def _proved(edges: Floats, below: Floats, others: Floats, other_below: Floats) -> float:
    """By how much the other cumulative share must differ somewhere, whatever it is between its own edges."""
    low = np.concatenate([[0.0], other_below])[np.searchsorted(others, edges, side="right")]
    # The last edge is the highest quantile: no more than the last bin's share lies above it.
    low = np.where(edges > others[-1], np.maximum(low, 1 - 1 / NUM_BINS), low)
    high = np.concatenate([other_below, [1.0]])[np.searchsorted(others, edges, side="left")]
    return float(np.maximum(low - below, below - high).max(initial=0.0))


def _null_share(histogram: Histogram) -> float:
    at = -1 if isinstance(histogram.bins, ValueBins) else -2
    total = float(histogram.counts.sum())
    return float(histogram.counts[at]) / total if total else 0.0
