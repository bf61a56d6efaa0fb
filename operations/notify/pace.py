"""The price of a push: it moves so that what is spent meets the budget.

After each batch the price goes up by `price_step` deviations for one day's budget spent too much, and down for one
spent too little: a step along the gradient of the budget's Lagrange multiplier. What is left of a period is a bound as
well: the price of a batch is as high as it must be not to spend more than that, on average over the coins.

Reference: Balseiro, Lu and Mirrokni, "The best of many worlds: dual mirror descent for online allocation problems",
Operations Research 71(1), 2023.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.send_gate.config import NotifyConfig
from runtime.send_gate.coin import FAIR

__all__ = ["Allowance", "Pace", "allowance", "moved", "price_of_batch"]

DAY_US = 86_400 * 10**6


class Pace(msgspec.Struct, frozen=True):
    """Where the budget stands after a batch.

    Attributes:
        started: the day of the first batch, days since 1970.
        at_us: the instant of the latest batch, microseconds since 1970.
        price: of a push, discounted active days; None before there is a budget.
        spread: standard deviation of the candidates' advantages, of the latest batch that has one.
        period: of the latest batch, 0 first.
        spent: pushes of that period.
    """

    started: int
    at_us: int
    price: float | None = None
    spread: float = 0.0
    period: int = 0
    spent: int = 0


class Allowance(msgspec.Struct, frozen=True):
    """What a batch may spend.

    Attributes:
        period: that it lies in.
        spent: pushes of this period before it.
        left: of the period's budget; None without one.
        due: what the time since the batch before is worth; None without a budget.
    """

    period: int
    spent: int
    left: int | None = None
    due: float | None = None

    def coin(self, num_candidates: int) -> float:
        """With which probability a candidate that is left to the coin is sent: a fair coin, or what can be paid."""
        if self.left is None or self.due is None:
            return FAIR
        return min(FAIR, min(self.left, self.due) / max(num_candidates, 1))


def allowance(pace: Pace | None, config: NotifyConfig, at_us: int, day: int) -> Allowance:
    """What a batch may spend.

    Args:
        pace: after the batch before; None for the first, which may spend a day's share.
        config: the budget.
        at_us: of the batch.
        day: its date in the zone of the budget, days since 1970.
    """
    period = (day - pace.started) // config.budget_days if pace else 0
    spent = pace.spent if pace and pace.period == period else 0
    if not config.budget:
        return Allowance(period, spent)
    days = min((at_us - pace.at_us) / DAY_US, config.budget_days) if pace else 1.0
    return Allowance(period, spent, max(config.budget - spent, 0), days * config.budget / config.budget_days)


def price_of_batch(
    pace: Pace | None, config: NotifyConfig, allowed: Allowance, advantage: NDArray[np.float64]
) -> float:
    """Above which advantage a batch sends.

    Args:
        pace: after the batch before.
        config: the share of the coin.
        allowed: what may be spent.
        advantage: of the candidates that no rule holds, [N].
    """
    if allowed.left is None or allowed.due is None:
        return 0.0
    given = pace.price if pace else None
    may_spend = float(allowed.left) if given is not None else min(allowed.left, allowed.due)
    by_coin = config.explore * allowed.coin(len(advantage)) * len(advantage)
    most = (may_spend - by_coin) / (1.0 - config.explore) if config.explore < 1 else 0.0
    place = max(int(most), 0)
    bound = float(-np.partition(-advantage, place)[place]) if place < len(advantage) else 0.0
    return max(given or 0.0, bound, 0.0)


def moved(
    pace: Pace | None,
    config: NotifyConfig,
    allowed: Allowance,
    at_us: int,
    day: int,
    price: float,
    advantage: NDArray[np.float64],
    num_sent: int,
) -> Pace:
    """The pace after a batch.

    Args:
        pace: before it.
        config: budget and step.
        allowed: what it could spend.
        at_us: of the batch.
        day: its date in the zone of the budget.
        price: that it was decided by.
        advantage: of the candidates that no rule held, [N].
        num_sent: of them.
    """
    spread = float(advantage.std()) if len(advantage) else 0.0
    spread = spread or (pace.spread if pace else 0.0)
    new: float | None = None
    if allowed.due is not None:
        before = pace.price if pace and pace.price is not None else price
        too_much = num_sent - allowed.due
        # Where what is left of the period held candidates that the price would have sent, it is not too high.
        too_much = max(too_much, 0.0) if price > before or not allowed.left else too_much
        days_too_much = too_much * config.budget_days / config.budget
        new = max(before + config.price_step * spread * days_too_much, 0.0)
    return Pace(pace.started if pace else day, at_us, new, spread, allowed.period, allowed.spent + num_sent)
