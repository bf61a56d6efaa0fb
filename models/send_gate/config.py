"""The [send_gate] section."""

from __future__ import annotations

from typing import Annotated

import msgspec

from workflows.core.section import Count, Section

__all__ = ["SendGateConfig"]

Discount = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]


class SendGateConfig(Section, frozen=True):
    """What decides whether a notification is worth sending.

    Attributes:
        features: columns of the decisions that are known before one; empty: all numbers but those of the outcome.
        alone: of these, kinds that are in no product with others, such as the weekday.
        horizon_days: over which active days are counted after a decision; what lies beyond is valued by whether the
            user can still be reached.
        discount: of a day, against the day before.
        min_decisions: of the log that chance made, below which nothing is learnt.
    """

    features: tuple[str, ...] = ()
    alone: tuple[str, ...] = ("weekday",)
    horizon_days: Count = 21
    discount: Discount = 0.98
    min_decisions: Count = 10_000
