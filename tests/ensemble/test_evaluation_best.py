"""The share of the best possible, against a loop, and the reliability table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ensemble.evaluation.best import share_of_best
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.ranker import classification_quality, reliability_table
from models.dataset.features import State

NUM_USERS, NUM_ITEMS, K = 9, 14, 4


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    seen = [np.sort(rng.choice(NUM_ITEMS, 3, replace=False)) for _ in range(NUM_USERS)]
    indptr = np.cumsum([0, *map(len, seen)])
    state = State(
        np.zeros((NUM_USERS, 1), np.int32),
        indptr,
        np.concatenate(seen).astype(np.int32),
        np.ones(NUM_ITEMS, np.float32),
    )
    users = np.arange(NUM_USERS)
    queries = Queries(users, np.arange(NUM_USERS + 1), np.zeros(NUM_USERS, np.int64), users, {}, {})
    return state, queries, rng.random((NUM_USERS, NUM_ITEMS), np.float32), rng.random(NUM_ITEMS) < 0.8


def test_shares_equal_a_loop_over_the_definition(shop, monkeypatch):
    state, queries, truth, eligible = shop
    monkeypatch.setattr("ensemble.evaluation.best.CHUNK_CELLS", 2 * NUM_ITEMS)
    slates = np.random.default_rng(1).integers(-1, NUM_ITEMS, (NUM_USERS, K)).astype(np.int32)
    measured = np.array([0, 2, 3, 7, 8])
    got = share_of_best(
        {"ours": slates},
        queries,
        lambda part: truth[part],
        measured=measured,
        state=state,
        eligible=eligible,
        cutoffs=[2, 6],
    )
    for k in (2, 6):
        for user in range(NUM_USERS):
            allowed = [i for i in range(NUM_ITEMS) if eligible[i] and i not in state.seen(user)]
            best = sorted((float(truth[user, i]) for i in allowed), reverse=True)[:k]
            ours = [float(truth[user, i]) if i >= 0 else 0.0 for i in slates[user, :k]]
            expected = _discounted(ours) / _discounted(best) if user in measured else math.nan
            assert got["ours"][f"share_of_best@{k}"][user] == pytest.approx(expected, nan_ok=True)


def test_the_ideal_slate_gets_one(shop):
    state, queries, truth, eligible = shop
    allowed = np.where(eligible, truth, -1)
    allowed[state.seen_pairs(queries.user_rows)] = -1
    ideal = np.argsort(-allowed, axis=1)[:, :K].astype(np.int32)
    ideal[np.take_along_axis(allowed, ideal, axis=1) < 0] = -1  # users with fewer than K items to choose from
    got = share_of_best(
        {"ideal": ideal},
        queries,
        lambda part: truth[part],
        measured=queries.user_rows,
        state=state,
        eligible=eligible,
        cutoffs=[K],
    )
    np.testing.assert_allclose(got["ideal"][f"share_of_best@{K}"], 1.0)


def _discounted(values):
    return sum(value / math.log2(place + 2) for place, value in enumerate(values))


def test_reliability_bins_hold_equally_many_rows_in_order():
    probabilities = np.array([0.9, 0.1, 0.5, 0.2])
    table = reliability_table(np.array([1, 0, 0, 1]), probabilities, num_bins=2)
    assert table == [
        {"low": 0.1, "high": 0.2, "num_rows": 2, "predicted": pytest.approx(0.15), "observed": 0.5},
        {"low": 0.5, "high": 0.9, "num_rows": 2, "predicted": pytest.approx(0.7), "observed": 0.5},
    ]


def test_a_ranker_without_both_label_values_is_said_to_be_unmeasurable():
    assert "one label value" in classification_quality(np.zeros(3), np.ones(3))["skipped"]
    assert "no row that it could be measured on" in classification_quality(np.zeros(0), np.zeros(0))["skipped"]
    quality = classification_quality(np.array([0, 0, 0, 1]), np.full(4, 0.25))
    assert quality["logloss"] == pytest.approx(quality["constant_logloss"])
