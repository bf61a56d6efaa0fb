"""Policies of notifications side by side, in a closed loop: what each earns of what could be earned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from workflows.shop.notify import Day, Days, NotifyPolicy, Rule
from workflows.shop.pushes import NotifyShop
from workflows.shop.truth import Array

__all__ = [
    "LOGGING",
    "NEVER",
    "OPENS",
    "OPTIMUM",
    "REFERENCE",
    "SCORE",
    "Line",
    "Simulation",
    "judged",
    "lines",
    "play",
    "simulate",
]

SCORES = range(8)
OPEN_CHANCES = (0.05, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.35, 0.4)
NEVER, LOGGING, REFERENCE, OPTIMUM = "never", "logging rule", "observable reference", "optimum, sees all"
SCORE, OPENS = "score threshold, tuned on the truth", "P(open) threshold, tuned on the truth"


@dataclass(frozen=True)
class Line:
    """One policy.

    Attributes:
        policy: its name.
        value: discounted active days of a user.
        gain: (value - never's) / (the optimum's - never's).
        gain_low, gain_high: 95% interval of the gain, paired by user.
        sends: pushes a user and day.
        open_rate: of the pushes; None without any.
        active: users active on a day, a share.
        reachable: users whose notifications are on in the end, a share.
    """

    policy: str
    value: float
    gain: float
    gain_low: float
    gain_high: float
    sends: float
    open_rate: float | None
    active: float
    reachable: float


@dataclass(frozen=True)
class Simulation:
    """What was simulated, and how each policy did.

    Attributes:
        num_users, num_days, seed: of the simulation.
        optimal_value: exact, of all days to come.
        policies: never first.
    """

    num_users: int
    num_days: int
    seed: int
    optimal_value: float
    policies: list[Line]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def simulate(
    shop: NotifyShop,
    num_days: int,
    more: Mapping[str, NotifyPolicy] | None = None,
    tick: Callable[[], None] | None = None,
) -> Simulation:
    """Play the known policies, and others, and show what each gains; see `play`."""
    return judged(shop, num_days, play(shop, num_days, more, tick))


def judged(shop: NotifyShop, num_days: int, played: Mapping[str, tuple[Array, Days]]) -> Simulation:
    """What policies gained that were played."""
    best, never = (played[name][0] for name in (OPTIMUM, NEVER))
    table = [_line(name, *outcome, never, best) for name, outcome in played.items()]
    return Simulation(len(shop.users.type), num_days, shop.seed, shop.optimal_value(), table)


def play(
    shop: NotifyShop,
    num_days: int,
    more: Mapping[str, NotifyPolicy] | None = None,
    tick: Callable[[], None] | None = None,
) -> dict[str, tuple[Array, Days]]:
    """Play the known policies, and others, with the same users and luck.

    The thresholds are tuned on the truth: of their values the best one is kept, which no real shop could know.

    Args:
        shop: users and truth.
        num_days: how long.
        more: policies by name, such as a learnt gate.
        tick: called after each policy.

    Returns:
        Policy -> discounted active days of each user, float64 [U], and what happened.
    """
    played: dict[str, tuple[Array, Days]] = {}

    def run(policies: Iterable[tuple[str, NotifyPolicy]], name: str = "") -> None:
        """Play them; under one name only the best of them stays."""
        for own, policy in policies:
            days = shop.play(policy, num_days)
            value, key = shop.value(days), name or own
            if key not in played or value.mean() > played[key][0].mean():
                played[key] = (value, days)
        if tick is not None:
            tick()

    dynamics, plan = shop.dynamics, shop.plan
    run([(NEVER, Rule(lambda day: np.zeros(len(day.score))))])
    run([("always", Rule(lambda day: np.ones(len(day.score))))])
    run([(LOGGING, shop.logging_rule(explores=False))])
    run([("", Rule(_least_score(least))) for least in SCORES], SCORE)
    opens = [("", Rule(_above(dynamics.open, chance))) for chance in OPEN_CHANCES]
    run(opens, OPENS)
    for name, policy in (more or {}).items():
        run([(name, policy)])
    run([(REFERENCE, shop.observable_reference())])
    run([(OPTIMUM, Rule(_above(plan.advantage, 0.0)))])
    return played


def lines(simulation: Simulation) -> list[str]:
    """The table as text."""
    titles = ("policy", "value", "gain", "95% interval", "sends/day", "opened", "DAU", "reachable")
    head = "{:38s} {:>7s} {:>6s} {:>15s} {:>9s} {:>7s} {:>6s} {:>9s}".format(*titles)
    rows = [head]
    for one in simulation.policies:
        opened = "-" if one.open_rate is None else f"{one.open_rate:.3f}"
        interval = f"{one.gain_low:.3f} to {one.gain_high:.3f}"
        rows.append(
            f"{one.policy:38s} {one.value:7.3f} {one.gain:6.3f} {interval:>15s} {one.sends:9.3f} {opened:>7s} "
            f"{one.active:6.3f} {one.reachable:9.3f}"
        )
    rows.append(
        f"{simulation.num_users:,} users, {simulation.num_days} days, seed {simulation.seed}; value: discounted active "
        f"days of a user. The exact optimum of all days to come is {simulation.optimal_value:.3f}."
    )
    return rows


def _line(name: str, value: Array, days: Days, never: Array, best: Array) -> Line:
    spread = best.mean() - never.mean()
    gain = (value.mean() - never.mean()) / spread if spread else 0.0
    # Linearised: the gain is a ratio of two means over the same users.
    errors = (value - never) - gain * (best - never)
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors)) / spread if spread else 0.0
    sent = int(days.sent.sum())
    return Line(
        policy=name,
        value=float(value.mean()),
        gain=float(gain),
        gain_low=float(gain - half),
        gain_high=float(gain + half),
        sends=float(days.sent.mean()),
        open_rate=float(days.opened.sum() / sent) if sent else None,
        active=float(days.active.mean()),
        reachable=float((days.reachable[-1] & ~days.opted_out[-1]).mean()),
    )


def _least_score(least: int) -> Callable[[Day], Array]:
    return lambda day: (day.score >= least).astype(np.float64)


def _above(table: Array, least: float) -> Callable[[Day], Array]:
    """Sends where a table over the hidden state is above a bound."""
    return lambda day: (table[day.type, day.fatigue, day.habit, day.weekday, day.relevance] > least).astype(np.float64)
