"""The best that can be done with notifications in the simulated shop, worked out exactly.

A day's reward is 1 if the user is active, by an opened push or an own visit; each day counts `discount` times as much
as the one before. Types do not change, so that each is a Markov decision process of its own, of 336 states; policy
iteration ends at its optimum to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workflows.shop.dynamics import (
    HABIT_UP,
    NUM_FATIGUE,
    NUM_HABIT,
    WEEK,
    Dynamics,
    rounded,
)
from workflows.shop.truth import Array

__all__ = ["Plan", "evaluate", "solve"]

MAX_ROUNDS = 100


@dataclass(frozen=True)
class Plan:
    """A policy's values, and what one push more is worth under it.

    Attributes:
        value: float64 [T, F, H, W], discounted active days from a day on, before its candidate is seen.
        out: float64 [T, H, W], the same once notifications are off.
        advantage: float64 [T, F, H, W, R], by how much sending the day's candidate beats holding it.
        send: float64 [T, F, H, W, R], the policy: probabilities of a push.
    """

    value: Array
    out: Array
    advantage: Array
    send: Array


def solve(dynamics: Dynamics, discount: float) -> Plan:
    """The optimum, by policy iteration."""
    steps = _Steps(dynamics, discount)
    plan = steps.evaluate(np.zeros(dynamics.open.shape))
    for _ in range(MAX_ROUNDS):
        better = (plan.advantage > 1e-12).astype(np.float64)
        if (better == plan.send).all():
            return plan
        plan = steps.evaluate(better)
    raise AssertionError("policy iteration visits no policy twice, and there are finitely many")


def evaluate(dynamics: Dynamics, discount: float, send: Array) -> Plan:
    """Values of a policy that sees everything: the probability of a push, float64 [T, F, H, W, R]."""
    return _Steps(dynamics, discount).evaluate(send)


class _Steps:
    """From one day to the next: matrices over the states (fatigue, habit), of each type and weekday."""

    def __init__(self, dynamics: Dynamics, discount: float) -> None:
        self.dynamics, self.discount = dynamics, discount
        visit = dynamics.visit
        self.held = _habits(visit, dynamics.less_habit[:, 0])  # [T, W, H, H]
        self.unopened = _habits(visit, dynamics.less_habit[:, 1])
        self.opened = _habits(np.ones_like(visit), dynamics.less_habit[:, 0])
        self.out = self._out()
        self.parts = self._parts()

    def evaluate(self, send: Array) -> Plan:
        """Solve the linear equations of the values."""
        num_types, size = len(self.dynamics.share), NUM_FATIGUE * NUM_HABIT * WEEK
        reward_held, reward_sent, after_held, after_opened, after_unopened, lost = self.parts
        relevance, opened = self.dynamics.relevance, self.dynamics.open
        hold = ((1.0 - send) * relevance).sum(axis=-1)
        open_ = (send * opened * relevance).sum(axis=-1)
        unopened = (send * (1.0 - opened) * relevance).sum(axis=-1)
        reward = hold * reward_held + open_ + unopened * reward_sent
        stay = 1.0 - self.dynamics.opt_out[:, :, None, None]
        reward = reward + self.discount * unopened * (1.0 - stay) * lost
        flat = (num_types, size, 1)
        moves = hold.reshape(flat) * after_held + open_.reshape(flat) * after_opened
        moves += (unopened * stay).reshape(flat) * after_unopened
        value = np.linalg.solve(np.eye(size) - self.discount * moves, reward.reshape(flat))
        value = value.reshape(num_types, NUM_FATIGUE, NUM_HABIT, WEEK)

        def then(after: Array) -> Array:
            return np.asarray(self.discount * (after @ value.reshape(flat)).reshape(value.shape))

        held = reward_held + then(after_held)
        ignored = reward_sent + stay * then(after_unopened) + self.discount * (1.0 - stay) * lost
        sent = opened * (1.0 + then(after_opened))[..., None] + (1.0 - opened) * ignored[..., None]
        return Plan(value, self.out, sent - held[..., None], send)

    def _parts(self) -> tuple[Array, ...]:
        """Rewards [T, 1, H, W], matrices [T, size, size], and the value [T, 1, H, W] behind an opt-out."""
        visit = self.dynamics.visit[:, None]
        matrices = (
            self._matrix(self.held, rounded(None)),
            self._matrix(self.opened, rounded(False)),
            self._matrix(self.unopened, rounded(True)),
        )
        tomorrow = np.roll(self.out, -1, axis=2)  # [T, H, W] of the next weekday
        lost = np.einsum("twhk,tkw->thw", self.unopened, tomorrow)[:, None]
        return visit, visit, *matrices, lost

    def _matrix(self, habits: Array, fatigue: Array) -> Array:
        num_types, size = len(habits), NUM_FATIGUE * NUM_HABIT * WEEK
        week = np.roll(np.eye(WEEK), 1, axis=1)
        whole = np.einsum("fg,twhk,wx->tfhwgkx", fatigue, habits, week)
        return np.asarray(whole.reshape(num_types, size, size))

    def _out(self) -> Array:
        """Values once notifications are off, float64 [T, H, W]."""
        num_types, size = len(self.held), NUM_HABIT * WEEK
        week = np.roll(np.eye(WEEK), 1, axis=1)
        moves = np.einsum("twhk,wx->thwkx", self.held, week).reshape(num_types, size, size)
        visit = self.dynamics.visit.reshape(num_types, size, 1)
        value = np.linalg.solve(np.eye(size) - self.discount * moves, visit).reshape(num_types, NUM_HABIT, WEEK)
        return np.where(self.dynamics.leaves[:, None, None], 0.0, value)


def _habits(active: Array, less: Array) -> Array:
    """Habit from one day to the next, float64 [T, W, H, H], where a user is active with a probability [T, H, W]."""
    up = np.minimum(np.arange(NUM_HABIT) + 1, NUM_HABIT - 1)
    down = np.maximum(np.arange(NUM_HABIT) - 1, 0)
    levels = np.eye(NUM_HABIT)
    rises = (1.0 - HABIT_UP) * levels + HABIT_UP * levels[up]
    falls = (1.0 - less[:, None, None]) * levels + less[:, None, None] * levels[down]
    chance = np.moveaxis(active, 2, 1)[..., None]  # [T, W, H, 1]
    return np.asarray(chance * rises + (1.0 - chance) * falls[:, None])
