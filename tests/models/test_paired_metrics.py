"""Weighted AUC and log loss against repeated rows; differences of a model with itself and with a worse one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.bootstrap import Resamples
from models.metrics.classification import auc, log_loss
from models.metrics.paired import Scored, paired_differences, within_users


@given(st.integers(0, 10_000), st.integers(2, 30))
@settings(max_examples=80)
def test_a_weight_is_a_number_of_repetitions(seed, num_rows):
    rng = np.random.default_rng(seed)
    labels, weights = rng.integers(0, 2, num_rows), rng.integers(0, 4, num_rows)
    weights[0] += 1
    probabilities = rng.choice([0.1, 0.3, 0.30001, 0.9], num_rows)
    scored = Scored.of(labels, probabilities)
    repeated = np.repeat(np.arange(num_rows), weights)
    expected = auc(labels[repeated], probabilities[repeated])
    assert scored.auc(weights.astype(float)) == pytest.approx(expected, nan_ok=True)
    assert scored.logloss(weights.astype(float)) == pytest.approx(log_loss(labels[repeated], probabilities[repeated]))


def test_a_model_ties_with_itself_and_beats_a_coin():
    rng = np.random.default_rng(0)
    users = rng.integers(0, 50, 2000) * 3
    probabilities = rng.random(2000)
    labels = rng.random(2000) < probabilities
    ours, coin = Scored.of(labels, probabilities), Scored.of(labels, np.full(2000, 0.5))
    plan = Resamples(60, 1)
    same = paired_differences(ours, ours, users, plan)
    assert all((gap.value, gap.low, gap.high) == (0, 0, 0) for gap in same.values())
    better = paired_differences(ours, coin, users, plan)
    assert better["auc"].value == pytest.approx(auc(labels, probabilities) - 0.5)
    assert 0 < better["auc"].low < better["auc"].value < better["auc"].high
    assert better["logloss"].high < 0


def test_the_interval_is_that_of_repeated_users():
    """Against a bootstrap by hand: the rows of the drawn users, put together."""
    rng = np.random.default_rng(1)
    users = rng.integers(0, 12, 200)
    labels, first, second = rng.integers(0, 2, 200), rng.random(200), rng.random(200)
    plan = Resamples(25, 7)
    gaps = []
    for counts in np.concatenate(list(plan.weights(12))):
        rows = np.repeat(np.arange(200), counts[users].astype(int))
        gaps.append(auc(labels[rows], first[rows]) - auc(labels[rows], second[rows]))
    found = paired_differences(Scored.of(labels, first), Scored.of(labels, second), users, plan)["auc"]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(gaps, [2.5, 97.5])))


def test_pairs_of_one_user_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(8)
    owner = np.append(np.arange(6), rng.integers(0, 6, 60))
    labels, scores, weights = rng.integers(0, 2, 66), rng.integers(0, 7, 66) / 7, rng.uniform(0.5, 3, 66)
    won, pairs = within_users(labels, scores, owner, weights)
    for user in range(6):
        rows = np.flatnonzero(owner == user)
        mine = [(i, j) for i in rows for j in rows if labels[i] == 1 and labels[j] == 0]
        right = [(scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]) for i, j in mine]
        weight = [weights[i] * weights[j] for i, j in mine]
        assert pairs[user] == pytest.approx(sum(weight))
        assert won[user] == pytest.approx(np.dot(right, weight))
