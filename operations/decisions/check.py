"""`cascade log check`: whether a log can be used to evaluate policies, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from models.ope.target import ROUNDING, explained
from workflows.decisions.log import DecisionLog, Refused

__all__ = ["CheckedLog", "checked", "lines"]

SHOWN = 10


class CheckedLog(msgspec.Struct, frozen=True):
    """What `cascade log check --json` prints.

    Attributes:
        num_slates: that were drawn.
        num_users: of these.
        num_slots: of the longest slate.
        earned: mean reward of a slate.
        num_fixed: further slates, which were not drawn by chance.
        lowest_propensity: of a slot.
        certain_share: of the slots.
        num_told: slates that say what they were chosen from.
        num_unexplained: of these, whose propensities a softmax of it does not give.
        unexplained_request: one of them; empty where there is none.
        refused: rows that are left out.
    """

    num_slates: int
    num_users: int
    num_slots: int
    earned: float
    num_fixed: int
    lowest_propensity: float
    certain_share: float
    num_told: int
    num_unexplained: int
    unexplained_request: str
    refused: list[Refused]


def checked(log: DecisionLog) -> CheckedLog:
    """What a log holds, and whether propensities are what the utilities give."""
    shown = log.items >= 0
    told = log.has_candidates & ~np.isnan(log.temperature)
    wrong = ~explained(log)[told] if told.any() else np.zeros(0, bool)
    return CheckedLog(
        num_slates=len(log),
        num_users=len(np.unique(log.users)),
        num_slots=log.items.shape[1],
        earned=float(log.rewards.sum(axis=1).mean()),
        num_fixed=log.num_fixed,
        lowest_propensity=float(np.exp(log.log_propensity[shown].min())),
        certain_share=float((log.log_propensity == 0)[shown].mean()),
        num_told=int(told.sum()),
        num_unexplained=int(wrong.sum()),
        unexplained_request=str(log.request_ids[told][wrong][0]) if wrong.any() else "",
        refused=log.refused,
    )


def lines(found: CheckedLog) -> Iterator[str]:
    """The same in words, with the first of the rows that are left out."""
    slates = f"{found.num_slates:,} slates of {found.num_users:,} users, up to {found.num_slots} items"
    yield f"{slates}, {found.earned:.4g} earned each"
    if found.num_fixed:
        yield f"{found.num_fixed:,} further slates were not drawn by chance"
    certain = f"{found.certain_share:.1%} of the slots were certain"
    yield f"propensities of a slot: {found.lowest_propensity:.3g} at least, {certain}"
    for row in found.refused[:SHOWN]:
        yield f"left out: {row.request_id}: {row.why}"
    if len(found.refused) > SHOWN:
        yield f"left out: {len(found.refused) - SHOWN:,} more"
    if not found.num_told:
        yield "it does not say what the slates were chosen from (candidate_ids, candidate_scores, temperature)"
    elif not found.num_unexplained:
        yield f"{found.num_told:,} slates say what they were chosen from, and a softmax of it gives their propensities"
    else:
        yield (
            f"of {found.num_told:,} slates that say what they were chosen from, {found.num_unexplained:,} have "
            f"propensities that a softmax of it does not give within {ROUNDING:g}, {found.unexplained_request} for "
            "one: pins, caps and diversity do that, and so does a wrong propensity"
        )
