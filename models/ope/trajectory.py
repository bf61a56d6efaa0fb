"""Estimators for trajectories: states, one action each, rewards in between.

    per-decision IS   mean of sum_t g^t W_t r_t                               Precup, Sutton and Singh, ICML 2000
    FQE               mean of v(first state)                                  Le, Voloshin and Yue, ICML 2019
    DR                mean of sum_t g^t [W_(t-1) v(s_t) + W_t (r_t - q(s_t, a_t))]   Jiang and Li, ICML 2016

with a discount g, W_t the product of target over logged probability of the actions up to t, q a fitted value of an
action, and v its mean over what the target does in that state.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.ope.slate import cascade_doubly_robust
from models.ope.slates import Floats, Slates, Values
from models.ope.terms import Terms, mean_of

__all__ = ["Transitions", "fitted_q", "per_decision_is", "trajectory_doubly_robust"]

MAX_ROUNDS = 10_000
TOLERANCE = 1e-12


class Transitions(msgspec.Struct, frozen=True):
    """M logged steps, each described for every action that could be taken, so that a policy can be asked in it.

    Attributes:
        features: float64 [M, A, F], of the state that the action was taken in, with each action.
        actions: int64 [M], which was taken.
        rewards: float64 [M].
        next_features: float64 [M, A, F], of the NEXT state, with each action.
        next_policy: float64 [M, A], the target's probabilities in the NEXT state; all 0 where the trajectory ends.
    """

    features: Floats
    actions: NDArray[np.int64]
    rewards: Floats
    next_features: Floats
    next_policy: Floats


def per_decision_is(steps: Slates, discount: float) -> Terms:
    """Per-decision importance sampling; a trajectory is a row, a step a slot, 0 in every array after its end."""
    return mean_of((steps.weights() * steps.rewards * _discounts(steps, discount)).sum(axis=1))


def trajectory_doubly_robust(steps: Slates, values: Values, discount: float) -> Terms:
    """DR with q of each step's action and v of each step's state, float64 [N, T], undiscounted; 0 after the end."""
    factor = _discounts(steps, discount)
    discounted = Slates(steps.rewards * factor, steps.logged, steps.target, steps.users)
    return cascade_doubly_robust(discounted, Values(values.taken * factor, values.expected * factor))


def fitted_q(steps: Transitions, discount: float) -> Floats:
    """Weights of a linear q that agrees with itself one step on, float64 [F].

    Each round regresses r + g * sum_a pi(a | next state) q(next state, a) on the features of what was done. The policy
    is asked in the next state: asked in the present one, the values would be of another policy.

    Args:
        steps: logged steps; with one feature for each state and action, q is a table.
        discount: below 1, or any up to 1 where every trajectory ends.
    """
    done = np.take_along_axis(steps.features, steps.actions[:, None, None], axis=1)[:, 0]
    following = (steps.next_policy[:, :, None] * steps.next_features).sum(axis=1)
    solve = np.linalg.pinv(done.T @ done, hermitian=True)
    weights = np.zeros(done.shape[1])
    for _ in range(MAX_ROUNDS):
        fitted = solve @ (done.T @ (steps.rewards + discount * (following @ weights)))
        change = float(np.abs(fitted - weights).max())
        weights = fitted
        if change <= TOLERANCE * max(1.0, float(np.abs(weights).max())):
            break
    return weights


def _discounts(steps: Slates, discount: float) -> Floats:
    return discount ** np.arange(steps.rewards.shape[1], dtype=np.float64)
