"""The [ope] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from models.ope.intervals import Interval
from workflows.core.section import Fraction, Positive, Section

__all__ = ["Estimators", "OpeConfig"]

# What can be estimated; see models.ope.evaluate.
Estimator = Literal[
    "dm", "switch_dr", "shrunk_dr", "iips", "pseudo_inverse", "sips", "snips", "rips", "snrips", "cascade_dr"
]
Estimators = Annotated[tuple[Estimator, ...], msgspec.Meta(min_length=1)]


class OpeConfig(Section, frozen=True):
    """Off-policy evaluation: what a policy would have earned from the slates that another one drew.

    Attributes:
        min_ess: effective slates below which no number is given.
        max_weight_share: of all weight that one slate may have.
        estimators: which are shown. The answer is the last that the log suffices for, in the order iips,
            pseudo_inverse, sips, snips, rips, snrips, cascade_dr; dm never is, nor are switch_dr and shrunk_dr, which
            are for slates of one item.
        interval: how the 95% intervals are made.
    """

    min_ess: Positive = 150.0
    max_weight_share: Fraction = 0.05
    estimators: Estimators = ("snips", "snrips", "cascade_dr")
    interval: Interval = "linearised"
