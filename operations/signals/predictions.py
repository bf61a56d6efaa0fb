"""Signals of what was answered: whether slates are whole, what they rest on, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from ensemble.profile.bins import Histogram
from operations.signals.distance import js
from operations.signals.kinds import Measured
from operations.signals.slates import Sample
from runtime.spec import PATHS

__all__ = ["prediction_signals", "score_histogram"]


def prediction_signals(answered: Sample, scores: Mapping[str, Histogram]) -> Iterator[Measured]:
    """Measure a window.

    Args:
        answered: its answered requests, each once.
        scores: the profile's; without a profile none.
    """
    sizes, wanted = answered.numbers("num_items"), answered.numbers("slate_size")
    yield answered.share("empty", sizes == 0)
    yield answered.share("short", (sizes > 0) & (sizes < wanted))
    items, rows = answered.lists("item_rows")
    width = int(items.max(initial=0)) + 1
    distinct = np.bincount(np.unique(rows * width + items) // width, minlength=len(answered))
    yield answered.share("duplicates", distinct < np.bincount(rows, minlength=len(answered)))
    values, of = answered.lists("scores")
    is_bad = np.bincount(of, ~((values >= 0) & (values <= 1)), len(answered)) > 0
    yield answered.share("bad_scores", is_bad)
    paths = answered.table["path"].cast(pa.string()).to_numpy()
    for path in PATHS:
        yield answered.share("path_share", paths == path, path)
        if path in scores and (window := score_histogram(answered, path, scores[path])) is not None:
            found = js(scores[path], window)
            num = int((paths == path).sum())
            yield Measured("score_js", path, *found[:2], found.spread, num, window.num, found.is_enough)


def score_histogram(answered: Sample, path: str, reference: Histogram) -> Histogram | None:
    """The scores of a path's slates counted into the bins of their reference; None without such a slate."""
    is_on = answered.table["path"].cast(pa.string()).to_numpy() == path
    if not is_on.any():
        return None
    values, of = answered.lists("scores")
    chosen = is_on[of]
    return Histogram.of(reference.bins, values[chosen], answered.worth(is_on), answered.weights[of[chosen]])
