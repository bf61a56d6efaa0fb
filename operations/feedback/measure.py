"""Live quality of one window: click-through, hits and calibration, each corrected for what has yet to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import effective
from operations.feedback.maturity import MATURE, Maturity
from operations.feedback.window import Window

__all__ = ["CUTOFFS", "Figure", "measure_window"]

CUTOFFS = (1, 5, 10)
# Positions that are told apart.
MOST_RANKS = 20
NUM_BINS = 10


class Figure(NamedTuple):
    """A figure of a window.

    Attributes:
        label: what users did.
        metric: ctr, hit, chosen_rank, copc, ece; estimate and estimate_error.
        slice: such as rank=1 or path=history; k=10 of a hit; "" for all.
        value: NaN where there is nothing to measure.
        spread: how far chance alone moves it, one standard deviation; users are drawn, not impressions.
        observed: positives, weighted.
        expected: of ctr and hit what could have been positive by now, weighted; of copc and ece the sum of scores; of
            chosen_rank the positives, and `observed` the sum of their ranks.
        num: impressions, or slates of a hit.
        effective: users of equal weight.
        maturity: share of the positives that have come.
        is_mature: whether that is enough.
    """

    label: str
    metric: str
    slice: str
    value: float
    spread: float
    observed: float
    expected: float
    num: int
    effective: float
    maturity: float
    is_mature: bool


def measure_window(window: Window, maturity: dict[str, Maturity], until: int) -> Iterator[Figure]:
    """Measure a window.

    Args:
        window: impressions.
        maturity: by label; of a label without one there is no figure.
        until: when the latest event was, nanoseconds since 1970: what came later is not known yet.
    """
    ages = np.maximum(until - window.at, 0) / 1e9
    for label, curve in maturity.items():
        came = curve.at(ages)
        hits = window.positives.get(label, np.zeros(len(window), bool))
        yield from _of_label(window, label, hits, came, curve.is_known)


def _of_label(
    window: Window, label: str, hits: NDArray[np.bool_], came: NDArray[np.float64], is_known: bool
) -> Iterator[Figure]:
    every = np.ones(len(window), bool)
    # Of a label whose delays are not known yet the figures are those of what has come.
    could = came if is_known else np.ones(len(window))
    share = float(np.average(came, weights=window.weights)) if is_known else 0.0

    def ratio(metric: str, slice_: str, chosen: NDArray[np.bool_], expected: NDArray[np.float64]) -> Figure:
        return _ratio(window, (label, metric, slice_), chosen, hits, expected, share)

    yield ratio("ctr", "", every, could)
    for rank in range(1, min(int(window.ranks.max()), MOST_RANKS) + 1):
        yield ratio("ctr", f"rank={rank}", window.ranks == rank, could)
    for name, texts in window.slices.items():
        for value in sorted(set(texts.tolist())):
            chosen = texts == value
            yield ratio("ctr", f"{name}={value}", chosen, could)
            yield _chosen_rank(window, label, f"{name}={value}", hits & chosen, share)
    for cutoff in CUTOFFS:
        yield _hit(window, label, cutoff, hits, could, share)
    yield _chosen_rank(window, label, "", hits, share)
    scored = window.is_scored & np.isfinite(window.scores)
    expected = np.where(scored, window.scores, 0.0) * could
    yield ratio("copc", "", scored, expected)
    for rank in range(1, min(int(window.ranks.max()), MOST_RANKS) + 1):
        yield ratio("copc", f"rank={rank}", scored & (window.ranks == rank), expected)
    yield _ece(window, label, scored, hits, expected, could, share)


def _chosen_rank(window: Window, label: str, slice_: str, hits: NDArray[np.bool_], share: float) -> Figure:
    return _ratio(window, (label, "chosen_rank", slice_), hits, window.ranks, np.ones(len(window)), share)


def _ratio(
    window: Window,
    names: tuple[str, str, str],
    chosen: NDArray[np.bool_],
    hits: NDArray,
    expected: NDArray[np.float64],
    share: float,
) -> Figure:
    """Observed over expected of some impressions; its spread by users, whose clicks are not independent."""
    weights, users = window.weights[chosen], window.users[chosen]
    observed = weights * hits[chosen]
    could = weights * expected[chosen]
    total, base = float(observed.sum()), float(could.sum())
    value = total / base if base > 0 else np.nan
    num = effective(np.bincount(users, weights).astype(np.float64)) if len(users) else 0.0
    spread = np.nan
    if base > 0:
        spread = float(np.sqrt((np.bincount(users, observed - value * could) ** 2).sum()) / base)
    return Figure(*names, value, spread, total, base, int(chosen.sum()), num, share, share >= MATURE)


def _hit(
    window: Window, label: str, cutoff: int, hits: NDArray[np.bool_], could: NDArray[np.float64], share: float
) -> Figure:
    """The share of slates with a positive within the first `cutoff` items."""
    _, first, slates = np.unique(window.slates, return_index=True, return_inverse=True)
    is_hit = np.bincount(slates, hits & (window.ranks <= cutoff)) > 0
    of = Window(
        window.slates[first],
        window.users[first],
        window.ranks[first],
        window.at[first],
        window.scores[first],
        window.weights[first],
        window.is_scored[first],
        {},
        {},
    )
    names = (label, "hit", f"k={cutoff}")
    return _ratio(of, names, np.ones(len(of), bool), is_hit, could[first], share)


def _ece(
    window: Window,
    label: str,
    scored: NDArray[np.bool_],
    hits: NDArray[np.bool_],
    expected: NDArray[np.float64],
    could: NDArray[np.float64],
    share: float,
) -> Figure:
    """Expected calibration error: of ten bins of equally many scores the mean distance of rate and score."""
    order = np.flatnonzero(scored)[np.argsort(window.scores[scored], kind="stable")]
    apart = base = 0.0
    for part in np.array_split(order, NUM_BINS):
        weights = window.weights[part]
        apart += abs(float(weights @ hits[part]) - float(weights @ expected[part]))
        base += float(weights @ could[part])
    value = apart / base if base > 0 else np.nan
    users = effective(np.bincount(window.users[order], window.weights[order]).astype(np.float64)) if len(order) else 0.0
    observed = float(window.weights[order] @ hits[order])
    spread = float(np.sqrt(max(value, 1e-9) / users)) if users else np.nan
    return Figure(
        *(label, "ece", "", value, spread, observed, float(window.weights[order] @ expected[order])),
        *(len(order), users, share, share >= MATURE),
    )
