"""Whether a log can say anything of a policy: how much it overlaps, and whether its propensities are the true ones.

The effective sample size is (sum of w)^2 / sum of w^2 (Kong, University of Chicago TR 348, 1992). Weights of right
propensities have mean 1 over all slates that the target would show, so a mean far from 1 says that propensities are
wrong, or that the target shows what was never logged.
"""

from __future__ import annotations

import msgspec
import numpy as np

from models.ope.intervals import standard_error
from models.ope.slates import Slates
from models.ope.terms import mean_of

__all__ = ["FEWEST_USERS", "MAX_Z", "Diagnostics", "diagnose", "refusal"]

MAX_Z = 4.0
FEWEST_USERS = 30  # of fewer, their spread is hardly known
# Logs hold rounded propensities. Weights that are all alike are 1 but for that, and have no spread to measure it by.
ROUNDING = 1e-4
WAYS_OUT = "log more slates, log with a higher temperature, or evaluate a policy nearer to the logged one"


class Diagnostics(msgspec.Struct, frozen=True):
    """Of a log under a target policy.

    Attributes:
        num_slates: N.
        num_users: whose they are.
        ess: slates that the weighted log is worth.
        ess_share: of N.
        largest_share: of all weight, in the slate that has most; 0 where none has any.
        mean_weight: over slates; 1 but for chance.
        mean_weight_z: how many standard errors it is from 1.
        never_shown: share of the logged slates that the target would never draw.
        outside: share of the target's choices that the logging policy would never have made, in the slots that were
            logged; null where the log does not say what it chose from.
        num_refused: rows that were left out, a propensity of 0 among them.
    """

    num_slates: int
    num_users: int
    ess: float
    ess_share: float
    largest_share: float
    mean_weight: float
    mean_weight_z: float
    never_shown: float
    outside: float | None = None
    num_refused: int = 0


def diagnose(slates: Slates, *, outside: float | None = None, num_refused: int = 0) -> Diagnostics:
    """Diagnostics of N slates, one at least; the arguments are the attributes of the same name."""
    weights = slates.weights()[:, -1]
    total = float(weights.sum())
    ess = total**2 / float((weights**2).sum()) if total else 0.0
    terms = mean_of(weights)
    error = standard_error(terms, slates.users)
    gap = terms.value - 1
    return Diagnostics(
        num_slates=len(weights),
        num_users=len(np.unique(slates.users)),
        ess=ess,
        ess_share=ess / len(weights),
        largest_share=float(weights.max()) / total if total else 0.0,
        mean_weight=terms.value,
        mean_weight_z=gap / error if error > 0 and abs(gap) > ROUNDING else 0.0,
        never_shown=float((weights == 0).mean()),
        outside=outside,
        num_refused=num_refused,
    )


def refusal(found: Diagnostics, *, min_ess: float, max_weight_share: float) -> str:
    """Why no number may be given, in one sentence; empty where one may.

    Args:
        found: of the log.
        min_ess: fewest effective slates.
        max_weight_share: most that one slate may weigh of all.
    """
    if found.num_slates and not found.mean_weight:
        return f"too little overlap: of {found.num_slates:,} logged slates the policy would draw none; {WAYS_OUT}"
    if found.ess < min_ess:
        return (
            f"too little overlap: the {found.num_slates:,} logged slates say as much as {found.ess:,.0f} of the "
            f"policy's own would, and min_ess is {min_ess:,.0f}; {WAYS_OUT}"
        )
    if found.largest_share > max_weight_share:
        return (
            f"too little overlap: one slate has {found.largest_share:.1%} of all weight, and max_weight_share is "
            f"{max_weight_share:.1%}; {WAYS_OUT}"
        )
    if abs(found.mean_weight_z) > MAX_Z:
        return (
            f"the mean weight is {found.mean_weight:.3g}, {abs(found.mean_weight_z):.1f} standard errors from 1: the "
            "slates were not drawn with the logged propensities, or the policy shows what was never logged; check what "
            "orders slates after they are drawn"
        )
    if found.num_users < FEWEST_USERS:
        return f"{found.num_users} users say little of how far others would differ; log {FEWEST_USERS} or more"
    return ""
