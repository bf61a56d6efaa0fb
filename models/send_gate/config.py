"""The [send_gate] section."""

from __future__ import annotations

from typing import Annotated

import msgspec

from workflows.core.section import Count, NonNegative, Positive, Section

__all__ = ["NotifyConfig", "PushCap", "SendGateConfig"]

Discount = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Explored = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class PushCap(Section, frozen=True):
    """How many pushes a user gets at most.

    Attributes:
        pushes: at most.
        days: in so many days on the user's calendar, today included.
    """

    pushes: Count
    days: Count = 1


class NotifyConfig(Section, frozen=True):
    """[send_gate.notify]: what `cascade notify` keeps to beside the gate.

    Attributes:
        budget: pushes to all users in a period; 0: no budget.
        budget_days: of a period; the first begins with the day of the first batch.
        price_step: how far the price of a push moves for one day's budget that was spent too much or too little, in
            standard deviations of the candidates' advantages.
        explore: share of the decisions that a coin makes, so that the next training learns from them.
        caps: of each user; all of them hold.
        quiet_hours: "22:00-08:00" on the user's clock, in which nothing is sent; empty: none.
        time_zone: of users whose candidates name none, and of the periods of the budget.
    """

    budget: NonNegative = 0
    budget_days: Count = 1
    price_step: Positive = 0.3
    explore: Explored = 0.1
    caps: tuple[PushCap, ...] = (PushCap(pushes=1),)
    quiet_hours: str = ""
    time_zone: str = "UTC"


class SendGateConfig(Section, frozen=True):
    """What decides whether a notification is worth sending.

    Attributes:
        features: columns of the decisions that are known before one; empty: all numbers but those of the outcome.
        alone: of these, kinds that are in no product with others, such as the weekday.
        horizon_days: over which active days are counted after a decision; what lies beyond is valued by whether the
            user can still be reached.
        discount: of a day, against the day before.
        min_decisions: of the log that chance made, below which nothing is learnt.
        notify: of batches of decisions; training does not read it.
    """

    features: tuple[str, ...] = ()
    alone: tuple[str, ...] = ("weekday",)
    horizon_days: Count = 21
    discount: Discount = 0.98
    min_decisions: Count = 10_000
    notify: NotifyConfig = NotifyConfig()
