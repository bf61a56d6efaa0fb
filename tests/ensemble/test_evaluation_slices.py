"""Slices against a loop over users; their intervals against a bootstrap of the slice's users alone."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.evaluation.measure import Slates, measure_source
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.slices import measure_slices
from models.dataset.features import State
from models.metrics.bootstrap import Resamples

NUM_USERS, NUM_ITEMS, K = 40, 30, 10


@pytest.fixture
def setting():
    rng = np.random.default_rng(0)
    seen = [np.sort(rng.choice(20, size=rng.integers(0, 9), replace=False)) for _ in range(NUM_USERS)]
    rows = np.concatenate(seen).astype(np.int32)
    popularity = np.bincount(rows, minlength=NUM_ITEMS).astype(np.float32)  # items from 20 on are cold
    indptr = np.cumsum([0, *map(len, seen)])
    state = State(np.zeros((NUM_USERS, 1), np.int32), indptr, rows, popularity)
    users = np.sort(rng.choice(NUM_USERS, 32, replace=False))
    relevant = [np.sort(rng.choice(NUM_ITEMS, rng.integers(1, 5), replace=False)) for _ in users]
    queries = Queries(
        users, np.cumsum([0, *map(len, relevant)]), np.concatenate(relevant), np.zeros(32, np.int64), {}, {}
    )
    slates = {
        name: Slates(name, np.stack([rng.permutation(NUM_ITEMS)[:K] for _ in users]).astype(np.int32), np.zeros(0), 1.0)
        for name in ("a", "b")
    }
    return slates, queries, state, rng.choice(["x", "y"], NUM_USERS).astype(object)


def measured(setting, num_resamples=30, **segments):
    slates, queries, state, _ = setting
    columns = {name: measure_source(answer, queries, state, [5, K]) for name, answer in slates.items()}
    return measure_slices(slates, columns, queries, state, segments, [5, K], Resamples(num_resamples, 1))


def recall(slate, relevant, k):
    return len(set(slate[:k].tolist()) & set(relevant)) / len(relevant)


def test_user_slices_are_means_over_their_users(setting):
    slates, queries, state, group = setting
    table = measured(setting, group=group)
    length = np.diff(state.seen_indptr)
    members = {
        "warm_users": lambda user: length[user] > 0,
        "cold_users": lambda user: length[user] == 0,
        "history_1_4": lambda user: 1 <= length[user] <= 4,
        "history_5_19": lambda user: 5 <= length[user] <= 19,
        "group=x": lambda user: group[user] == "x",
        "group=y": lambda user: group[user] == "y",
    }
    for name, belongs in members.items():
        kept = [q for q, user in enumerate(queries.user_rows) if belongs(user)]
        assert table[name]["num_users"] == len(kept)
        for source, answer in slates.items():
            values = [recall(answer.rows[q], queries.relevant(q).tolist(), K) for q in kept]
            estimate = table[name][source][f"recall@{K}"]
            assert estimate["value"] == pytest.approx(np.mean(values))
            low, high = np.percentile(Resamples(30, 1).means(np.array(values)[:, None]), [2.5, 97.5])
            assert (estimate["low"], estimate["high"]) == pytest.approx((low, high))
    assert "history_20_99" not in table
    assert "group=other" not in table


def test_item_slices_keep_only_such_items_as_relevant(setting):
    slates, queries, state, _ = setting
    table = measured(setting)
    warm = np.flatnonzero(state.popularity > 0)
    head = sorted(warm.tolist(), key=lambda row: (-state.popularity[row], row))[: -(-len(warm) // 5)]
    kinds = {
        "warm_items": set(warm.tolist()),
        "cold_items": set(range(NUM_ITEMS)) - set(warm.tolist()),
        "head_items": set(head),
        "tail_items": set(warm.tolist()) - set(head),
    }
    for name, items in kinds.items():
        kept = [(q, wanted) for q in range(len(queries)) if (wanted := items & set(queries.relevant(q).tolist()))]
        assert table[name]["num_users"] == len(kept)
        values = [recall(slates["a"].rows[q], wanted, 5) for q, wanted in kept]
        assert table[name]["a"]["recall@5"]["value"] == pytest.approx(np.mean(values))


def test_rare_values_of_a_segment_are_put_together(setting):
    many = np.array([f"v{user % 20:02}" for user in range(NUM_USERS)], object)
    table = measured(setting, many=many)
    values = [name for name in table if name.startswith("many=")]
    assert len(values) == 13
    assert sum(table[name]["num_users"] for name in values) == 32
