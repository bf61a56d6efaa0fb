"""Signals of which items are shown: how many of the catalogue, how unequally, and how popular ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import Histogram, NumberBins
from ensemble.profile.profile import NO_EVENTS, NUM_DECILES, Profile
from operations.signals.distance import js
from operations.signals.kinds import Measured
from operations.signals.slates import Sample

__all__ = ["NUM_RAREFIED", "decile_histograms", "exposure_signals", "gini", "rarefied"]

# Slates that coverage and inequality are told for: both grow with the traffic otherwise.
NUM_RAREFIED = 1_000
DECILES = NumberBins(np.arange(1.0, NUM_DECILES + 1))


def exposure_signals(answered: Sample, profile: Profile) -> Iterator[Measured]:
    """Measure a window.

    Args:
        answered: its answered requests, each once.
        profile: of the version that answered.
    """
    items, rows = answered.lists("item_rows")
    known = (items >= 0) & (items < profile.info.num_items)
    items, rows = items[known], rows[known]
    counts = np.bincount(items, minlength=profile.info.num_items)
    num, worth = len(answered), answered.worth()
    is_enough = num >= NUM_RAREFIED
    value, spread = rarefied(counts, num, NUM_RAREFIED) if is_enough else (np.nan, np.nan)
    yield Measured("coverage", "", value, 0.0, spread, num, worth, is_enough)
    # The lowest keys are a random sample of the requests, the same one each time.
    first = np.isin(rows, np.argsort(answered.numbers("key"), kind="stable")[:NUM_RAREFIED])
    value = gini(np.bincount(items[first], minlength=profile.info.num_items)) if is_enough else np.nan
    yield Measured("gini", "", value, 0.0, 0.0, min(num, NUM_RAREFIED), worth, is_enough)
    deciles = profile.item_decile[items]
    is_tail = (deciles >= NUM_DECILES // 2) & (deciles != NO_EVENTS)
    yield answered.mean("long_tail", _mean_of_slate(rows, is_tail, num))
    yield answered.mean("new_items", _mean_of_slate(rows, deciles == NO_EVENTS, num))
    yield answered.mean("popular_overlap", _mean_of_slate(rows, np.isin(items, profile.popular), num))
    reference, window = decile_histograms(answered, profile)
    found = js(reference, window)
    yield Measured("popularity_js", "", *found[:2], found.spread, num, worth, found.is_enough)


def decile_histograms(answered: Sample, profile: Profile) -> tuple[Histogram, Histogram]:
    """How many items of each decile of popularity were shown: in the profile, in a window."""
    items, rows = answered.lists("item_rows")
    known = (items >= 0) & (items < profile.info.num_items)
    deciles = profile.item_decile[items[known]].astype(np.float64)
    reference = Histogram(DECILES, np.append(profile.shown_deciles, [0.0, 0.0]), float(profile.info.num_queries))
    return reference, Histogram.of(DECILES, deciles, answered.worth(), answered.weights[rows[known]])


def rarefied(counts: NDArray[np.int64], num_slates: int, num_drawn: int) -> tuple[float, float]:
    """The expected share of items in `num_drawn` of `num_slates` slates, and its spread.

    Args:
        counts: int64 [N], slates that hold each item.
        num_slates: at least `num_drawn`.
        num_drawn: slates drawn without replacement.

    Reference: Hurlbert, "The nonconcept of species diversity", 1971.
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num_slates + 1)))])
    rest = num_slates - np.minimum(counts, num_slates)
    can_miss = rest >= num_drawn
    log_missed = logs[rest] - logs[np.maximum(rest - num_drawn, 0)] - logs[num_slates] + logs[num_slates - num_drawn]
    missed = np.where(can_miss, np.exp(log_missed), 0.0)
    return float((1 - missed).mean()), float(np.sqrt((missed * (1 - missed)).sum()) / len(counts))


def gini(counts: NDArray) -> float:
    """0: all items are shown as often; towards 1: few items take all places. NaN where nothing was shown."""
    ordered, total = np.sort(counts), counts.sum()
    if not total:
        return float("nan")
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1) @ ordered / (len(ordered) * total))


def _mean_of_slate(rows: NDArray[np.int64], which: NDArray[np.bool_], num: int) -> NDArray[np.float64]:
    """The share of each slate's items; NaN for an empty slate."""
    sizes = np.bincount(rows, minlength=num)
    held = np.bincount(rows, which, num)
    return np.divide(held, sizes, out=np.full(num, np.nan), where=sizes > 0)
