"""The [shop] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.section import Count, Fraction, NonNegative, NonNegativeFloat, Positive, Section, Share

__all__ = ["NotifyConfig", "ReturnsConfig", "ShopConfig", "StockConfig"]


class ReturnsConfig(Section, frozen=True):
    """What is sent back, and what purchases earn.

    Attributes:
        margin: median of the items' margins, in money.
        click_value: what a click is worth by itself.
        return_cost: what a purchase that comes back costs.
        mean_days: from a purchase to its return, on average.
    """

    margin: Positive = 10.0
    click_value: NonNegativeFloat = 0.02
    return_cost: NonNegativeFloat = 8.0
    mean_days: Positive = 7.0


class StockConfig(Section, frozen=True):
    """Units that sell out.

    Attributes:
        regions: each with a warehouse of its own; a central one delivers to all.
        units: of an item, in all warehouses, as the log begins; an average, popular items have more.
        arrivals_per_day: units of an item that arrive a day, likewise.
        central_share: share of all units that the central warehouse has.
    """

    regions: Count = 4
    units: Positive = 3.0
    arrivals_per_day: NonNegativeFloat = 0.05
    central_share: Fraction = 0.3


class NotifyConfig(Section, frozen=True):
    """Notifications: a candidate a day for each user, sent or held.

    Attributes:
        days: of the decision log.
        discount: what a day counts of the one before.
        visible: share of the profiles that show a trait rightly.
        epsilon: share of the logged decisions that a coin makes, so that each has a propensity within (0, 1).
    """

    days: Count = 60
    discount: Fraction = 0.98
    visible: Share = 0.95
    epsilon: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.2


class ShopConfig(Section, frozen=True):
    """Size and nature of the simulated shop.

    Attributes:
        num_users: users, cold ones included.
        num_items: items, cold ones included.
        num_impressions: rows of the events table.
        num_days: length of the log in days; tastes drift over it.
        impressions_per_session: items shown in one session.
        policy: who chooses what is displayed. "mix": popular items and liked categories, with redraws of what is off
            sale or displayed already, so that nobody knows how probable a slate was. "softmax": the same taste, drawn
            so that each slot has an exact probability, in the column `log_propensity` of the events.
        random_share: share of the display positions that the policy leaves to chance: each shows any item on sale with
            equal probability, which the column `propensity` of the events states. With policy = "softmax" it is a share
            of whole slates.
        cold_user_fraction: share of users whose first session lies in the last tenth of the log.
        cold_item_fraction: share of items launched in the last tenth of the log.
        out_of_stock_fraction: share of items whose stock runs out before the end of the log.
        trends_per_day: how many items begin to trend each day, on average: for a while everybody is more inclined to
            click them. 0: none ever does.
        trend_strength: what a trend adds to the logit of a click at its beginning.
        trend_hours: after which half of it is left.
        seed: the whole shop is a function of this section alone.
        returns: None, where the file has no [shop.returns]: nothing is sent back.
        stock: None, where the file has no [shop.stock]: there is always more.
        notify: None, where the file has no [shop.notify]: no decision log is written.
    """

    num_users: Count = 20_000
    num_items: Count = 5_000
    num_impressions: Count = 1_000_000
    num_days: Count = 60
    impressions_per_session: Count = 10
    policy: Literal["mix", "softmax"] = "mix"
    random_share: Fraction = 0.15
    cold_user_fraction: Fraction = 0.03
    cold_item_fraction: Fraction = 0.03
    out_of_stock_fraction: Fraction = 0.05
    trends_per_day: NonNegativeFloat = 0.0
    trend_strength: Positive = 2.0
    trend_hours: Positive = 12.0
    seed: NonNegative = 7
    returns: ReturnsConfig | None = None
    stock: StockConfig | None = None
    notify: NotifyConfig | None = None
