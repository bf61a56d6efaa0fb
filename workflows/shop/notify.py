"""Notifications in the simulated shop, day by day: any policy decides, users answer as `dynamics` says.

A policy sees what an engineer sees: visible attributes, the history of sends, opens and visits, the score of the day's
candidate. Those that cheat, to say what could be had, see the hidden state too. All policies meet the same users with
the same luck, so that differences between them are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from workflows.shop.dynamics import (
    ATTRIBUTES,
    HABIT_UP,
    NUM_FATIGUE,
    NUM_HABIT,
    WEEK,
    Dynamics,
    rounded,
)
from workflows.shop.truth import Array

__all__ = ["FEATURES", "Day", "Days", "NotifyPolicy", "Rule", "Users", "draw_users", "play_days"]

FEATURES = (
    *("score", "weekday", *ATTRIBUTES, "days_known", "days_since_send", "days_since_visit"),
    *("sends_3d", "sends_14d", "opens_14d", "unopened_3d", "unopened_14d", "visit_rate_14d"),
)
LONGEST = 60.0  # days since something happened, at most
FIRST_HABITS = (2, 6)
NO_PUSH, OPENED, UNOPENED = range(3)


@dataclass(frozen=True)
class Users:
    """U users.

    Attributes:
        type: int64 [U], hidden.
        attributes: int64 [U, 3], what their profile says of interest, patience and loyalty, right for most.
        habit: int64 [U], of the first day, hidden.
    """

    type: Array
    attributes: Array
    habit: Array


@dataclass(frozen=True)
class Day:
    """What a policy decides on; users whose notifications are off are asked about too, and what is said has no effect.

    Attributes:
        number: 0 first; weekday: 0 to 6.
        score: int64 [U], the binned score of the day's candidate.
        features: float64 [U, len(FEATURES)], as of before the decision.
        type, fatigue, habit, relevance: int64 [U], hidden.
    """

    number: int
    weekday: int
    score: Array
    features: Array
    type: Array
    fatigue: Array
    habit: Array
    relevance: Array


@dataclass(frozen=True)
class Days:
    """What happened to U users on D days, arrays [D, U].

    Attributes:
        score: int64; features: float32 [D, U, len(FEATURES)], both before the decision.
        reachable: bool, before the decision.
        propensity: float64, with which the policy sends.
        sent, opened, visited, opted_out: bool; visited: unasked, not told of days with an opened push.
    """

    score: Array
    features: Array
    reachable: Array
    propensity: Array
    sent: Array
    opened: Array
    visited: Array
    opted_out: Array

    @property
    def active(self) -> Array:
        """Days that count, bool [D, U]."""
        return np.asarray(self.opened | self.visited)


class NotifyPolicy(Protocol):
    """Decides who is sent the day's candidate."""

    def decide(self, day: Day) -> Array:
        """Probability of a push for each user, float64 [U]."""

    def saw(self, day: Day, outcome: Days) -> None:
        """A day is over: arrays [1, U], as a log tells a learner."""


@dataclass(frozen=True)
class Rule:
    """A policy that needs no memory of its own: `of` gives the probabilities of a day."""

    of: Callable[[Day], Array]

    def decide(self, day: Day) -> Array:
        """Probability of a push for each user, float64 [U]."""
        return self.of(day)

    def saw(self, day: Day, outcome: Days) -> None:
        """Nothing is remembered."""


def draw_users(dynamics: Dynamics, size: int, visible: float, rng: np.random.Generator) -> Users:
    """Draw users; each trait is shown rightly in a share `visible` of the profiles, else as another one."""
    types = rng.choice(len(dynamics.share), size=size, p=dynamics.share)
    traits = dynamics.traits[types]
    levels = dynamics.traits.max(axis=0) + 1
    other = (traits + rng.integers(1, levels, size=traits.shape)) % levels
    attributes = np.where(rng.random(traits.shape) < visible, traits, other)
    return Users(types, attributes, rng.integers(*FIRST_HABITS, size=size))


def play_days(dynamics: Dynamics, users: Users, policy: NotifyPolicy, num_days: int, seed: int) -> Days:
    """Let a policy decide each day.

    Args:
        dynamics: of the shop.
        users: who is there on the first day, all reachable.
        policy: asked each day, and told what happened.
        num_days: D.
        seed: of candidates and answers, the same for whichever policy.
    """
    size = len(users.type)
    state = _State(dynamics, users)
    history = _History(users)
    told: list[Days] = []
    for number in range(num_days):
        luck = np.random.default_rng([seed, number]).random((8, size))
        relevance = _pick(np.cumsum(dynamics.relevance)[None, :].repeat(size, axis=0), luck[0])
        score = _pick(np.cumsum(dynamics.score, axis=1)[relevance], luck[1])
        weekday = number % WEEK
        features = history.features(score, weekday)
        day = Day(number, weekday, score, features, users.type, state.fatigue, state.habit, relevance)
        propensity = np.asarray(policy.decide(day), dtype=np.float64)
        reachable = state.reachable.copy()
        sent = reachable & (luck[2] < propensity)
        opened, visited, opted_out = state.live(sent, weekday, relevance, luck[3:])
        history.add(sent, opened, visited)
        one = Days(score, features.astype(np.float32), reachable, propensity, sent, opened, visited, opted_out)
        told.append(one)
        policy.saw(day, Days(*(values[None] for values in vars(one).values())))
    return Days(*(np.stack(parts) for parts in zip(*(vars(one).values() for one in told), strict=True)))


class _State:
    """The hidden state of all users."""

    def __init__(self, dynamics: Dynamics, users: Users) -> None:
        self.dynamics, self.type = dynamics, users.type
        self.fatigue, self.habit = np.zeros_like(users.type), users.habit.copy()
        self.reachable = np.ones(len(users.type), dtype=bool)
        self.there = np.ones(len(users.type), dtype=bool)
        self.moves = np.cumsum(np.stack([rounded(None), rounded(False), rounded(True)]), axis=2)

    def live(self, sent: Array, weekday: int, relevance: Array, luck: Array) -> tuple[Array, Array, Array]:
        """One day: who opened, came unasked (where nothing was opened) and turned notifications off; bool [U] each."""
        known, habit = self.dynamics, self.habit
        opened = sent & (luck[0] < known.open[self.type, self.fatigue, habit, weekday, relevance])
        unopened = sent & ~opened
        visited = self.there & ~opened & (luck[1] < known.visit[self.type, habit, weekday])
        opted_out = unopened & (luck[2] < known.opt_out[self.type, self.fatigue])
        active = opened | visited
        falls = ~active & (luck[3] < known.less_habit[self.type, unopened.astype(np.int64)])
        rises = active & (luck[3] < HABIT_UP)
        self.habit = np.clip(habit + rises - falls, 0, NUM_HABIT - 1)
        push = np.where(opened, OPENED, np.where(unopened, UNOPENED, NO_PUSH))
        self.fatigue = np.minimum(_pick(self.moves[push, self.fatigue], luck[4]), NUM_FATIGUE - 1)
        self.reachable &= ~opted_out
        self.there &= ~(opted_out & known.leaves[self.type])
        return opened, visited, opted_out


class _History:
    """What is known of users, moved on by a day's events; sums decay by halves in so many days.

    The rate of own visits is moved by days without an opened push alone: else an open would look like loyalty.
    """

    def __init__(self, users: Users) -> None:
        size = len(users.type)
        self.attributes, self.known = users.attributes.astype(np.float64), 0
        self.since_send, self.since_visit = np.full(size, LONGEST), np.full(size, LONGEST)
        self.sums = {
            name: np.zeros(size) for name in ("sends_3d", "sends_14d", "opens_14d", "unopened_3d", "unopened_14d")
        }
        self.visits, self.chances = np.zeros(size), np.zeros(size)

    def features(self, score: Array, weekday: int) -> Array:
        """float64 [U, len(FEATURES)], in that order."""
        size = len(score)
        rate = (self.visits + 0.5) / (self.chances + 1.0)
        columns = [score, np.full(size, weekday), *self.attributes.T, np.full(size, self.known)]
        columns += [self.since_send, self.since_visit, *self.sums.values(), rate]
        return np.asarray(np.stack(columns, axis=1), dtype=np.float64)

    def add(self, sent: Array, opened: Array, visited: Array) -> None:
        """Move on by a day."""
        events = {"sends": sent, "opens": opened, "unopened": sent & ~opened}
        for name, values in self.sums.items():
            what, _, days = name.partition("_")
            values *= 0.5 ** (1.0 / float(days.removesuffix("d")))
            values += events[what]
        keep = np.where(opened, 1.0, 0.5 ** (1.0 / 14.0))
        self.visits = self.visits * keep + (visited & ~opened)
        self.chances = self.chances * keep + ~opened
        self.since_send = np.where(sent, 1.0, np.minimum(self.since_send + 1.0, LONGEST))
        self.since_visit = np.where(visited | opened, 1.0, np.minimum(self.since_visit + 1.0, LONGEST))
        self.known += 1


def _pick(cumulative: Array, luck: Array) -> Array:
    """A column of each row of cumulative chances [U, K], int64 [U]."""
    return np.asarray(np.minimum((cumulative <= luck[:, None]).sum(axis=1), cumulative.shape[1] - 1))
