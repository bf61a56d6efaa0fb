"""Ranking metrics against hand-worked slates and a plain loop over the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.bootstrap import Resamples, estimates
from models.metrics.ranking import coverage, hits, novelty, per_user


def test_hand_worked_slates():
    slates = np.array([[7, 3, 9, 1], [5, -1, -1, -1], [0, 1, 2, 3]])
    indptr, rows = np.array([0, 2, 3, 9]), np.array([3, 1, 8, 0, 1, 2, 3, 4, 5])
    got = per_user(slates, indptr, rows, [2, 4])
    # User 0: hits at positions 2 and 4 of two relevant; user 1: none; user 2: four leading hits of six relevant.
    assert got["recall@2"].tolist() == [0.5, 0.0, 2 / 6]
    assert got["capped_recall@2"].tolist() == [0.5, 0.0, 1.0]
    assert got["recall@4"].tolist() == [1.0, 0.0, 4 / 6]
    assert got["capped_recall@4"].tolist() == [1.0, 0.0, 1.0]
    assert got["mrr@4"].tolist() == [0.5, 0.0, 1.0]
    assert got["hit_rate@2"].tolist() == [1.0, 0.0, 1.0]
    ideal = 1 + 1 / math.log2(3)
    np.testing.assert_allclose(got["ndcg@2"], [1 / math.log2(3) / ideal, 0, 1])
    np.testing.assert_allclose(got["ndcg@4"], [(1 / math.log2(3) + 1 / math.log2(5)) / ideal, 0, 1])


def test_a_repeated_item_hits_once_and_a_repeated_positive_counts_once():
    slates = np.array([[4, 4, 2]])
    found, counts = hits(slates, np.array([0, 3]), np.array([4, 4, 2]))
    assert found.tolist() == [[True, False, True]]
    assert counts.tolist() == [2]


def test_padding_never_hits_even_beside_unknown_positives():
    found, counts = hits(np.array([[-1, 1]]), np.array([0, 2]), np.array([-1, 1]))
    assert found.tolist() == [[False, True]]
    assert counts.tolist() == [1]


def test_a_cutoff_beyond_the_slate_sees_misses():
    got = per_user(np.array([[0]]), np.array([0, 4]), np.arange(4), [100])
    assert got["recall@100"].tolist() == [0.25]
    assert got["capped_recall@100"].tolist() == [0.25]


def test_users_without_relevant_items_are_refused():
    with pytest.raises(ValueError, match="user 1 has no relevant item"):
        per_user(np.array([[0], [1]]), np.array([0, 1, 1]), np.array([0]), [1])


def test_a_wrong_number_of_users_is_refused():
    with pytest.raises(ValueError, match="expected 3"):
        hits(np.array([[0], [1]]), np.array([0, 1]), np.array([0]))


def test_novelty_is_the_surprisal_of_smoothed_shares():
    got = novelty(np.array([[0, 2, -1], [-1, -1, -1]]), np.array([5.0, 0.0, 0.0]), [1, 3])
    np.testing.assert_allclose(got["novelty@1"][0], -math.log2(6 / 8))
    np.testing.assert_allclose(got["novelty@3"][0], (-math.log2(6 / 8) - math.log2(1 / 8)) / 2)
    assert np.isnan(got["novelty@3"][1])


def test_coverage_counts_distinct_items_among_the_eligible():
    assert coverage(np.array([[0, 1], [0, -1]]), 4, [1, 2]) == {"coverage@1": 0.25, "coverage@2": 0.5}


@st.composite
def questions(draw):
    num_items = draw(st.integers(1, 12))
    item = st.integers(0, num_items - 1)
    users = draw(st.lists(st.tuples(st.lists(st.integers(-1, num_items - 1), min_size=5, max_size=5),
                                    st.lists(item, min_size=1, max_size=8)), min_size=1, max_size=6))  # fmt: skip
    return np.array([slate for slate, _ in users]), [relevant for _, relevant in users]


@given(questions(), st.integers(1, 7))
@settings(max_examples=200)
def test_every_metric_equals_a_loop_over_its_definition(question, k):
    slates, relevant = question
    indptr = np.cumsum([0, *map(len, relevant)])
    got = per_user(slates, indptr, np.concatenate(relevant), [k])
    for user, (slate, wanted) in enumerate(zip(slates.tolist(), map(set, relevant), strict=True)):
        left, found = set(wanted), []
        for item in slate[:k]:
            found.append(item in left)
            left.discard(item)
        gain = sum(1 / math.log2(j + 2) for j, hit in enumerate(found) if hit)
        ideal = sum(1 / math.log2(j + 2) for j in range(min(k, len(wanted))))
        expected = {
            "recall": sum(found) / len(wanted),
            "capped_recall": sum(found) / min(k, len(wanted)),
            "ndcg": gain / ideal,
            "mrr": 1 / (found.index(True) + 1) if True in found else 0.0,
            "hit_rate": float(any(found)),
        }
        for name, value in expected.items():
            assert got[f"{name}@{k}"][user] == pytest.approx(value), name


def test_intervals_hold_the_mean_and_shrink_with_users():
    rng = np.random.default_rng(0)
    few, many = (estimates({"m": rng.normal(3, 1, n)}, Resamples(1000, 1))["m"] for n in (100, 10_000))
    assert few.low < few.value < few.high
    # The normal interval of a mean is 1.96 standard errors wide to each side.
    assert few.high - few.low == pytest.approx(2 * 1.96 / 10, rel=0.25)
    assert many.high - many.low == pytest.approx(2 * 1.96 / 100, rel=0.25)


def test_resamples_are_seeded_shared_by_columns_and_independent_of_the_chunk(monkeypatch):
    values = np.random.default_rng(1).normal(size=(50, 1))
    plan = Resamples(20, 3)
    whole = plan.means(np.hstack([values, values]))
    monkeypatch.setattr("models.metrics.bootstrap.CHUNK_CELLS", 150)
    np.testing.assert_allclose(plan.means(values)[:, 0], whole[:, 1])
    assert not np.allclose(Resamples(20, 4).means(values)[:, 0], whole[:, 0])


def test_means_equal_a_loop_over_the_same_draws():
    values = np.array([[1.0], [2.0], [np.nan], [10.0]])
    draws = np.random.default_rng(5).integers(0, 4, size=(6, 4))
    np.testing.assert_allclose(Resamples(6, 5).means(values)[:, 0], [np.nanmean(values[d]) for d in draws])


def test_users_without_a_value_are_left_out():
    got = estimates({"m": np.array([1.0, np.nan, 3.0]), "none": np.full(3, np.nan)}, Resamples(50, 1))
    assert got["m"].value == 2.0
    assert 1.0 <= got["m"].low <= got["m"].high <= 3.0
    assert "none" not in got
