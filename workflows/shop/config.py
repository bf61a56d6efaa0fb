"""The [shop] section."""

from __future__ import annotations

from workflows.core.section import Count, Fraction, NonNegative, NonNegativeFloat, Positive, Section

__all__ = ["ShopConfig"]


class ShopConfig(Section, frozen=True):
    """Size and nature of the simulated shop.

    Attributes:
        num_users: users, cold ones included.
        num_items: items, cold ones included.
        num_impressions: rows of the events table.
        num_days: length of the log in days; tastes drift over it.
        impressions_per_session: items shown in one session.
        random_share: share of the display positions that the policy leaves to chance: each shows any item on sale with
            equal probability, which the column `propensity` of the events states.
        cold_user_fraction: share of users whose first session lies in the last tenth of the log.
        cold_item_fraction: share of items launched in the last tenth of the log.
        out_of_stock_fraction: share of items whose stock runs out before the end of the log.
        trends_per_day: how many items begin to trend each day, on average: for a while everybody is more inclined to
            click them. 0: none ever does.
        trend_strength: what a trend adds to the logit of a click at its beginning.
        trend_hours: after which half of it is left.
        seed: the whole shop is a function of this section alone.
    """

    num_users: Count = 20_000
    num_items: Count = 5_000
    num_impressions: Count = 1_000_000
    num_days: Count = 60
    impressions_per_session: Count = 10
    random_share: Fraction = 0.15
    cold_user_fraction: Fraction = 0.03
    cold_item_fraction: Fraction = 0.03
    out_of_stock_fraction: Fraction = 0.05
    trends_per_day: NonNegativeFloat = 0.0
    trend_strength: Positive = 2.0
    trend_hours: Positive = 12.0
    seed: NonNegative = 7
