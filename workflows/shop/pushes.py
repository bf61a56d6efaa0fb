"""The shop's notifications as a laboratory: users, the logging rule, and the truth to judge a gate by."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from workflows.shop.belief import Reference
from workflows.shop.config import NotifyConfig, ShopConfig
from workflows.shop.dynamics import Dynamics, draw_dynamics
from workflows.shop.laboratory import Shop, visits_of
from workflows.shop.notify import Day, Days, NotifyPolicy, Users, draw_users, play_days
from workflows.shop.optimum import Plan, solve
from workflows.shop.sessions import HOUR_WEIGHT
from workflows.shop.truth import Array
from workflows.shop.visits import Visits
from workflows.shop.world import START_S, generator

__all__ = ["LoggingRule", "NotifyShop", "open_notify", "visits_of_days"]

CAPS = (2, 4, 7)  # pushes a week, assigned at random
LEAST_SCORE, LEAST_SCORE_WEEKEND, WEEKEND = 5, 3, 4  # Friday to Sunday


@dataclass(frozen=True)
class NotifyShop:
    """Users whose hidden types are known here.

    Attributes:
        config: discount, what profiles show, how the log explores.
        seed: of the shop.
        dynamics: the planted probabilities.
        plan: the optimum.
        users: whoever is there on the first day.
        caps: int64 [U], pushes a week that the logging rule was assigned for each user.
    """

    config: NotifyConfig
    seed: int
    dynamics: Dynamics
    plan: Plan
    users: Users
    caps: Array

    def optimal_value(self) -> float:
        """Discounted active days of a user, all days to come, under the best policy that sees everything."""
        return float(self.plan.value[self.users.type, 0, self.users.habit, 0].mean())

    def advantage(self, user: Array, state: tuple[Array, Array, Array, Array]) -> Array:
        """By how many discounted active days a push beats none, if all goes on at its best.

        Args:
            user: int64, rows.
            state: fatigue, habit, weekday and relevance, int64 that broadcast against `user`.

        Returns:
            float64 of the broadcast shape.
        """
        return np.asarray(self.plan.advantage[(self.users.type[user], *state)])

    def observable_reference(self) -> Reference:
        """The policy of one who knows the dynamics, and sees of the users what an engineer sees; new each time."""
        return Reference(self.dynamics, self.plan, self.users, self.config.visible)

    def logging_rule(self, explores: bool = True) -> LoggingRule:
        """The policy that wrote the log; without exploration it is what that shop would run."""
        return LoggingRule(self.caps, self.config.epsilon if explores else 0.0)

    def play(self, policy: NotifyPolicy, num_days: int) -> Days:
        """Let a policy decide each day; all policies meet the same luck."""
        return play_days(self.dynamics, self.users, policy, num_days, self.seed)

    def value(self, days: Days) -> Array:
        """Discounted active days of each user over the days played, float64 [U]."""
        discount = self.config.discount ** np.arange(len(days.sent))
        return np.asarray(discount @ days.active)


@dataclass
class LoggingRule:
    """Sends what scores well, more at weekends, at most so many a week; a coin decides now and then.

    Attributes:
        caps: int64 [U], pushes in seven days.
        epsilon: share of the decisions that the coin makes.
    """

    caps: Array
    epsilon: float
    week: list[Array] = field(default_factory=list)

    def decide(self, day: Day) -> Array:
        """Probability of a push: epsilon / 2 where the rule holds, 1 - epsilon / 2 where it sends; float64 [U]."""
        least = LEAST_SCORE_WEEKEND if day.weekday >= WEEKEND else LEAST_SCORE
        recent = np.sum(self.week, axis=0) if self.week else np.zeros(len(self.caps))
        sends = (day.score >= least) & (recent < self.caps)
        return np.where(sends, 1.0 - self.epsilon / 2, self.epsilon / 2)

    def saw(self, day: Day, outcome: Days) -> None:
        """Count the pushes of the last six days."""
        self.week = [*self.week[-5:], outcome.sent[0].astype(np.int64)]


def open_notify(config: ShopConfig, num_users: int, seed: int | None = None) -> NotifyShop:
    """Draw users and solve for the optimum.

    Args:
        config: of the shop; without [shop.notify] its defaults count.
        num_users: how many, the first rows of the shop's users.
        seed: of users and luck; None: the shop's.
    """
    notify = config.notify or NotifyConfig()
    chosen = config.seed if seed is None else seed
    rng, (dynamics, plan) = np.random.default_rng([chosen, 1]), _planned(notify.discount)
    users = draw_users(dynamics, num_users, notify.visible, rng)
    return NotifyShop(notify, chosen, dynamics, plan, users, rng.choice(CAPS, size=num_users))


@lru_cache(maxsize=4)
def _planned(discount: float) -> tuple[Dynamics, Plan]:
    """The optimum of all users that there can be."""
    dynamics = draw_dynamics()
    return dynamics, solve(dynamics, discount)


def visits_of_days(shop: Shop, days: Days) -> Visits:
    """A visit of the shop for each active day, in order of time: who is kept by notifications is shown more slates.

    Args:
        shop: has at least as many users as `days`.
        days: played by its first users, from the first day of the shop's log on.
    """
    rng = generator(shop.config, "visits of days")
    day, users = np.nonzero(days.active)
    hours = rng.choice(24, size=len(users), p=HOUR_WEIGHT / HOUR_WEIGHT.sum())
    at_s = START_S + day * 86_400 + hours * 3_600 + rng.integers(3_600, size=len(users))
    order = np.argsort(at_s, kind="stable")
    return visits_of(shop, rng, users[order], at_s[order])
