"""Click-through before the labels come: scores times how often they came true at each position until then.

The estimate of a window rests on mature windows before it alone. It is kept as it was first made and, once the window
is mature itself, compared with what came: `estimate_error`. Scores on the path of popular items are no probabilities;
there it is the rate of that path.

Reference: NannyML's confidence-based performance estimation takes calibrated scores in the place of labels too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from operations.feedback.measure import MOST_RANKS, Figure
from operations.feedback.window import Window

__all__ = ["ERROR", "ESTIMATE", "LEAST_PAST", "estimate", "estimate_error"]

ESTIMATE, ERROR = "estimate", "estimate_error"
# Mature windows without which nothing is estimated, and the latest ones that it rests on.
LEAST_PAST, MOST_PAST = 3, 28


def estimate(window: Window, label: str, past: Sequence[Sequence[Figure]]) -> Figure | None:
    """What the click-through of a window will be.

    Args:
        window: impressions.
        label: what users do.
        past: figures of mature windows before it, oldest first; of them those of this label count.

    Returns:
        The figure; None where there is too little of a past.
    """
    past = [some for some in ([f for f in figures if f.label == label] for figures in past) if some][-MOST_PAST:]
    if len(past) < LEAST_PAST:
        return None
    observed, expected = defaultdict[str, float](float), defaultdict[str, float](float)
    for figure in (figure for figures in past for figure in figures):
        if figure.metric == "copc" or (figure.metric, figure.slice) == ("ctr", "path=popularity"):
            observed[figure.slice] += figure.observed
            expected[figure.slice] += figure.expected
    rates = {name: observed[name] / total for name, total in expected.items() if total > 0}
    overall = rates.get("", np.nan)
    by_rank = np.array([rates.get(f"rank={rank}", overall) for rank in range(MOST_RANKS + 1)] + [overall])
    scored = window.is_scored & np.isfinite(window.scores)
    chances = np.where(
        scored,
        np.nan_to_num(window.scores) * by_rank[np.minimum(window.ranks, MOST_RANKS + 1)],
        rates.get("path=popularity", np.nan),
    )
    value = float(np.average(chances, weights=window.weights))
    if not np.isfinite(value):
        return None
    users = float(window.weights.sum() ** 2 / (window.weights**2).sum())
    spread = float(np.hypot(_day_to_day(past) * value, np.sqrt(max(value * (1 - value), 0.0) / users)))
    return Figure(label, ESTIMATE, "", value, spread, 0.0, 0.0, len(window), users, 0.0, True)


def estimate_error(estimated: Figure, live: Figure) -> Figure:
    """How far an estimate was from what came, as a share of it."""
    value = estimated.value / live.value - 1 if live.value > 0 else np.nan
    spread = live.spread / live.value if live.value > 0 else np.nan
    return live._replace(metric=ERROR, slice="", value=value, spread=spread)


def _day_to_day(past: Sequence[Sequence[Figure]]) -> float:
    """How far the windows' own ratios of observed and expected lie from each other, as a share."""
    ratios = [f.value for figures in past for f in figures if (f.metric, f.slice) == ("copc", "") and f.value > 0]
    return float(np.std(ratios, ddof=1) / np.mean(ratios)) if len(ratios) > 1 else 0.0
