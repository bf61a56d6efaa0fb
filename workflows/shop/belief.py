"""What can be known of a user's hidden type and state from what can be observed: the exact posterior, day by day.

By it the optimum's advantage is averaged (`Reference`): the policy of one who knows the shop's dynamics but sees of its
users only what an engineer sees. No learner that sees the same can expect to do much better, though this is no strict
bound: the advantage presumes that the state is seen from tomorrow on, so that nothing is done to learn of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from workflows.shop.dynamics import HABIT_UP, NUM_FATIGUE, NUM_HABIT, Dynamics, rounded
from workflows.shop.notify import FIRST_HABITS, Day, Days, Users
from workflows.shop.optimum import Plan
from workflows.shop.truth import Array

__all__ = ["Reference"]


class Reference:
    """Sends where the advantage, averaged over what the user can be, is above zero.

    Args:
        dynamics: of the shop.
        plan: the optimum.
        users: whose attributes are seen.
        visible: share of the profiles that show a trait rightly.
    """

    def __init__(self, dynamics: Dynamics, plan: Plan, users: Users, visible: float) -> None:
        posterior = dynamics.score * dynamics.relevance[:, None]
        posterior = posterior / posterior.sum(axis=0)  # of the relevance given the score, [R, O]
        self.open, self.advantage = dynamics.open @ posterior, plan.advantage @ posterior  # [T, F, H, W, O]
        self.dynamics, self.belief = dynamics, _prior(dynamics, users, visible)
        self.moves = np.stack([rounded(None), rounded(False), rounded(True)])

    def decide(self, day: Day) -> Array:
        """1 where a push is sent, float64 [U]."""
        by_score = self.advantage[:, :, :, day.weekday, :].reshape(self.belief.shape[1], -1)
        expected = np.einsum("uk,ku->u", self.belief, by_score[:, day.score])
        return np.asarray(expected > 0, dtype=np.float64)

    def saw(self, day: Day, outcome: Days) -> None:
        """Learn from what happened."""
        known = self.dynamics
        told = (outcome.sent[0], outcome.opened[0], outcome.visited[0])
        _update()(
            self.belief.reshape(-1, len(known.share), NUM_FATIGUE, NUM_HABIT),
            *(np.ascontiguousarray(values) for values in told),
            outcome.reachable[0] & ~outcome.opted_out[0],
            day.score,
            np.ascontiguousarray(self.open[:, :, :, day.weekday, :]),
            np.ascontiguousarray(known.visit[:, :, day.weekday]),
            known.opt_out,
            known.less_habit,
            self.moves,
        )


def _prior(dynamics: Dynamics, users: Users, visible: float) -> Array:
    """By what the profile says, float64 [U, T * F * H]."""
    levels = dynamics.traits.max(axis=0) + 1
    right = users.attributes[:, None, :] == dynamics.traits[None, :, :]
    chance = np.where(right, visible, (1.0 - visible) / (levels - 1)).prod(axis=2) * dynamics.share
    state = np.zeros((NUM_FATIGUE, NUM_HABIT))
    state[0, slice(*FIRST_HABITS)] = 1.0 / (FIRST_HABITS[1] - FIRST_HABITS[0])
    chance /= chance.sum(axis=1, keepdims=True)
    return np.ascontiguousarray((chance[:, :, None, None] * state).reshape(len(chance), -1))


@lru_cache(maxsize=1)
def _update() -> Callable[..., None]:
    """The filter's step, compiled when it is first wanted."""
    from numba import njit

    up = HABIT_UP

    @njit(cache=False)  # type: ignore[misc]
    def update(
        belief: Any,
        sent: Any,
        opened: Any,
        visited: Any,
        goes_on: Any,
        score: Any,
        open_: Any,
        visit: Any,
        opt_out: Any,
        less: Any,
        moves: Any,
    ) -> None:
        num_users, num_types, num_fatigue, num_habit = belief.shape
        new = np.zeros((num_types, num_fatigue, num_habit))
        for user in range(num_users):
            if not goes_on[user]:
                continue
            new[:] = 0.0
            push = 0
            if sent[user]:
                push = 1 if opened[user] else 2
            active = opened[user] or visited[user]
            total = 0.0
            for kind in range(num_types):
                fall = less[kind, 1 if push == 2 else 0]
                for tired in range(num_fatigue):
                    for habit in range(num_habit):
                        mass = belief[user, kind, tired, habit]
                        if mass < 1e-12:
                            continue
                        chance = open_[kind, tired, habit, score[user]]
                        if push == 1:
                            mass *= chance
                        else:
                            if push == 2:
                                mass *= (1.0 - chance) * (1.0 - opt_out[kind, tired])
                            mass *= visit[kind, habit] if visited[user] else 1.0 - visit[kind, habit]
                        total += mass
                        to = min(habit + 1, num_habit - 1) if active else max(habit - 1, 0)
                        change = up if active else fall
                        for then in range(num_fatigue):
                            move = moves[push, tired, then] * mass
                            if move > 0.0:
                                new[kind, then, to] += change * move
                                new[kind, then, habit] += (1.0 - change) * move
            for kind in range(num_types):
                for tired in range(num_fatigue):
                    for habit in range(num_habit):
                        belief[user, kind, tired, habit] = new[kind, tired, habit] / total

    step: Callable[..., None] = update
    return step
