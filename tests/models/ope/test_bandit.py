"""Estimators for one action: exact on average over all actions; biased ones move from the model to the unbiased one."""

from __future__ import annotations

import numpy as np
import pytest

from models.ope import bandit

LOGGED = np.array([0.5, 0.3, 0.15, 0.05])
TARGET = np.array([0.1, 0.2, 0.3, 0.4])
REWARDS = np.array([1.0, 3.0, -2.0, 5.0])
Q = np.array([0.5, 2.0, 1.0, -1.0])
WEIGHTS = TARGET / LOGGED
EXPECTED = np.full(4, TARGET @ Q)
TRUTH = TARGET @ REWARDS


def test_ips_and_dr_are_right_on_average():
    assert LOGGED @ bandit.ips(REWARDS, WEIGHTS).pulls == pytest.approx(TRUTH, abs=1e-9)
    robust = bandit.doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED)
    assert LOGGED @ robust.pulls == pytest.approx(TRUTH, abs=1e-9)
    wrong = WEIGHTS * 1.7  # wrong propensities, and a model that is right
    assert LOGGED @ bandit.doubly_robust(REWARDS, wrong, REWARDS, np.full(4, TRUTH)).pulls == pytest.approx(TRUTH)


def test_snips_is_the_ratio_and_moves_with_a_constant():
    found = bandit.self_normalised_ips(REWARDS, WEIGHTS)
    by_loop = sum(w * r for w, r in zip(WEIGHTS, REWARDS, strict=True)) / sum(WEIGHTS)
    assert found.value == pytest.approx(by_loop, abs=1e-12)
    assert bandit.self_normalised_ips(REWARDS + 7, WEIGHTS).value == pytest.approx(found.value + 7)
    assert bandit.ips(REWARDS + 7, WEIGHTS).value != pytest.approx(bandit.ips(REWARDS, WEIGHTS).value + 7)


def test_switch_and_shrinkage_lie_between_the_model_and_dr():
    direct = bandit.direct_method(EXPECTED).value
    robust = bandit.doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED).value
    assert bandit.switch_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, 0.0).value == direct
    assert bandit.switch_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, np.inf).value == robust
    by_loop = np.mean(
        [TARGET @ Q + (w * (r - q) if w <= 1 else 0) for w, r, q in zip(WEIGHTS, REWARDS, Q, strict=True)]
    )
    assert bandit.switch_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, 1.0).value == pytest.approx(by_loop)
    assert bandit.shrunk_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, 0.0).value == direct
    assert bandit.shrunk_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, np.inf).value == robust
    assert bandit.shrunk_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, 1e12).value == pytest.approx(robust)
    shrunk = np.mean([TARGET @ Q + 2 * w / (w * w + 2) * (r - q) for w, r, q in zip(WEIGHTS, REWARDS, Q, strict=True)])
    assert bandit.shrunk_doubly_robust(REWARDS, WEIGHTS, Q, EXPECTED, 2.0).value == pytest.approx(shrunk)


def test_the_least_error_shrinks_wild_weights_and_leaves_mild_ones():
    rng = np.random.default_rng(0)
    rewards, zero = rng.normal(1.0, 1.0, 2_000), np.zeros(2_000)

    def choose(weights):
        unbiased = bandit.ips(rewards, weights)
        return bandit.least_error(
            lambda size: bandit.shrunk_doubly_robust(rewards, weights, zero, zero, size),
            unbiased,
            [np.inf, 1e4, 100, 1],
        )

    assert choose(np.ones(2_000)) >= 1e4
    wild = np.ones(2_000)
    wild[:2], rewards[:2] = 2_000.0, [5.0, -5.0]
    assert choose(wild) <= 1e4
