"""`cascade log check`: whether a log can be used to evaluate policies, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.ope.target import ROUNDING, explained
from workflows.decisions.log import DecisionLog

__all__ = ["lines"]

SHOWN = 10


def lines(log: DecisionLog) -> Iterator[str]:
    """What the log holds; then every row that cannot be, and whether propensities are what the utilities give."""
    shown = log.items >= 0
    earned = log.rewards.sum(axis=1)
    slots, users = log.items.shape[1], len(np.unique(log.users))
    yield f"{len(log):,} slates of {users:,} users, up to {slots} items, {earned.mean():.4g} earned each"
    if log.num_fixed:
        yield f"{log.num_fixed:,} further slates were not drawn by chance"
    certain = (log.log_propensity == 0)[shown].mean()
    lowest = np.exp(log.log_propensity[shown].min())
    yield f"propensities of a slot: {lowest:.3g} at least, {certain:.1%} of the slots were certain"
    for row in log.refused[:SHOWN]:
        yield f"left out: {row.request_id}: {row.why}"
    if len(log.refused) > SHOWN:
        yield f"left out: {len(log.refused) - SHOWN:,} more"
    told = log.has_candidates & ~np.isnan(log.temperature)
    if not told.any():
        yield "it does not say what the slates were chosen from (candidate_ids, candidate_scores, temperature)"
        return
    wrong = ~explained(log)[told]
    if not wrong.any():
        yield f"{told.sum():,} slates say what they were chosen from, and a softmax of it gives their propensities"
        return
    yield (
        f"of {told.sum():,} slates that say what they were chosen from, {wrong.sum():,} have propensities that a "
        f"softmax of it does not give within {ROUNDING:g}, {log.request_ids[told][wrong][0]} for one: pins, caps and "
        "diversity do that, and so does a wrong propensity"
    )
