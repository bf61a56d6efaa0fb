"""The model finds what is planted, sees no slate that it is used for, and its values agree with themselves."""

from __future__ import annotations

import numpy as np
import pytest

from models.ope.reward_model import NUM_FOLDS, RewardModel, fit_reward_model, folds_of, slate_values
from models.ope.softmax import next_log_probabilities
from tests.models.ope import tiny


def test_a_planted_curve_and_gain_are_found():
    rng = np.random.default_rng(0)
    scores = rng.random((40_000, 3))
    gain = np.where(scores < 0.5, 0.1, 0.6)
    rewards = rng.random(scores.shape) < gain * tiny.CURVE
    found = fit_reward_model(scores, rewards.astype(float), np.ones(scores.shape, bool))
    np.testing.assert_allclose(found.curve / found.curve[0], tiny.CURVE, atol=0.03)
    expected = found.gain(np.array([0.2, 0.8])) * found.curve[0]
    np.testing.assert_allclose(expected, [0.1, 0.6], atol=0.05)


def test_rewards_below_zero_and_no_rewards_are_fitted_too():
    shown = np.ones((100, 2), bool)
    scores = np.random.default_rng(0).random((100, 2))
    lost = fit_reward_model(scores, np.full((100, 2), -3.0), shown)
    np.testing.assert_allclose(lost.gain(scores) * lost.curve, -3.0)
    assert not fit_reward_model(scores, np.zeros((100, 2)), shown).gains.any()
    assert not fit_reward_model(scores, np.ones((100, 2)), ~shown).curve.any()


def test_slots_that_a_slate_does_not_have_are_not_fitted():
    scores, rewards = np.ones((10, 2)), np.stack([np.ones(10), np.zeros(10)], axis=1)
    shown = np.stack([np.ones(10, bool), np.arange(10) < 5], axis=1)
    rewards[5:, 1] = 9.0
    assert fit_reward_model(scores, rewards, shown).curve[1] == 0


def test_the_slates_of_a_user_are_in_one_fold():
    users = np.repeat(np.arange(50), 3)
    folds = folds_of(users)
    assert sorted(set(folds)) == list(range(NUM_FOLDS))
    assert (folds.reshape(50, 3) == folds.reshape(50, 3)[:, :1]).all()


def values_of(places):
    model = RewardModel(np.array([0.5, 0.65]), np.array([0.2, 0.5, 0.9]), tiny.CURVE)
    scores = np.broadcast_to(tiny.RELEVANCE, (len(places), tiny.C))
    following = next_log_probabilities(np.broadcast_to(tiny.TARGET, scores.shape), places)
    return slate_values(model, scores, following, places), model, following


def test_expected_is_the_mean_of_taken_over_the_targets_choice():
    """Which is all that cascade-DR needs of it."""
    values, _, following = values_of(tiny.ALL)
    for row, slate in enumerate(tiny.ALL.tolist()):
        for k in range(tiny.S):
            mean = 0.0
            for item in set(range(tiny.C)) - set(slate[:k]):
                other = next(i for i, s in enumerate(tiny.ALL.tolist()) if s[: k + 1] == [*slate[:k], item])
                mean += np.exp(following[row, k, item]) * values.taken[other, k]
            assert values.expected[row, k] == pytest.approx(mean, abs=1e-12)


def test_the_values_of_the_last_two_slots_are_those_of_the_model():
    values, model, following = values_of(tiny.ALL)
    gains = model.gain(tiny.RELEVANCE)
    np.testing.assert_allclose(values.taken[:, 2], gains[tiny.ALL[:, 2]] * tiny.CURVE[2])
    np.testing.assert_allclose(
        values.taken[:, 1], gains[tiny.ALL[:, 1]] * tiny.CURVE[1] + np.exp(following[:, 2]) @ gains * tiny.CURVE[2]
    )
    np.testing.assert_allclose(values.expected[:, 2], np.exp(following[:, 2]) @ gains * tiny.CURVE[2])


def test_an_item_outside_the_candidates_and_a_missing_slot_have_no_value():
    places = np.array([[0, -1, 2], [0, 1, -1]])
    model = RewardModel(np.zeros(0), np.ones(1), tiny.CURVE)
    following = next_log_probabilities(np.zeros((2, 5)), places)
    following[1, 2] = -np.inf
    found = slate_values(model, np.zeros((2, 5)), following, places)
    assert found.taken[0, 1] == 0 and found.expected[0, 1] > 0
    assert found.taken[1, 2] == 0 and found.expected[1, 2] == 0
    assert found.expected[1, 1] == pytest.approx(tiny.CURVE[1])
