"""Trajectories: a chain of three states whose value is known, and whose target does another thing in each state."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from models.ope.slates import Slates, Values
from models.ope.trajectory import Transitions, fitted_q, per_decision_is, trajectory_doubly_robust

# States 0 -> 1 -> 2 -> end; action 1 moves on, action 0 stays. Each has its reward.
REWARD = np.array([[0.1, 1.0], [0.3, -0.5], [0.2, 4.0]])
LOGGED = np.array([[0.5, 0.5], [0.4, 0.6], [0.7, 0.3]])
TARGET = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])
DISCOUNT = 0.9


def exact_q():
    """The values by the linear equations of the chain."""
    matrix, constant = np.eye(6), REWARD.reshape(-1).copy()
    for state, action in product(range(3), range(2)):
        following = state + action
        if following < 3:
            matrix[2 * state + action, 2 * following : 2 * following + 2] -= DISCOUNT * TARGET[following]
    return np.linalg.solve(matrix, constant).reshape(3, 2)


def full_log(policy_of_next=lambda state, following: following):
    """Every state and action once."""
    states, actions = np.array([*product(range(3), range(2))]).T
    features, next_features, next_policy = np.zeros((6, 2, 6)), np.zeros((6, 2, 6)), np.zeros((6, 2))
    for row, (state, action) in enumerate(zip(states, actions, strict=True)):
        following = state + action
        for other in range(2):
            features[row, other, 2 * state + other] = 1
            if following < 3:
                next_features[row, other, 2 * following + other] = 1
        if following < 3:
            next_policy[row] = TARGET[policy_of_next(state, following)]
    return Transitions(features, actions, REWARD[states, actions], next_features, next_policy)


def test_fqe_of_a_full_log_is_exact():
    found = fitted_q(full_log(), DISCOUNT).reshape(3, 2)
    np.testing.assert_allclose(found, exact_q(), atol=1e-6)


def test_fqe_that_asks_the_policy_in_the_present_state_is_another_policys():
    """The published mistake: the action of the next step was taken from the present observation."""
    wrong = fitted_q(full_log(lambda state, following: state), DISCOUNT).reshape(3, 2)
    assert np.abs(wrong - exact_q()).max() > 0.1


def two_steps():
    """All trajectories of two steps from state 0, their chances under the log, and the target's truth."""
    steps, chances, truth = [], [], 0.0
    for first, second in product(range(2), range(2)):
        steps.append([(0, first), (first, second)])
        chances.append(LOGGED[0, first] * LOGGED[first, second])
        gained = REWARD[0, first] + DISCOUNT * REWARD[first, second]
        truth += TARGET[0, first] * TARGET[first, second] * gained
    states, actions = np.array(steps).transpose(2, 0, 1)
    log = Slates(
        REWARD[states, actions], np.log(LOGGED[states, actions]), np.log(TARGET[states, actions]), np.arange(4)
    )
    return states, actions, log, np.array(chances), truth


def test_per_decision_is_and_dr_are_right_on_average():
    states, actions, log, chances, truth = two_steps()
    assert chances @ per_decision_is(log, DISCOUNT).pulls == pytest.approx(truth, abs=1e-9)
    q = np.random.default_rng(0).normal(size=(3, 2))
    values = Values(q[states, actions], (TARGET * q).sum(axis=1)[states])
    assert chances @ trajectory_doubly_robust(log, values, DISCOUNT).pulls == pytest.approx(truth, abs=1e-9)
