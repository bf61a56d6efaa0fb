import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data import State
from models.ranking.calibrate import fit_platt
from models.ranking.neighbours import fit_neighbours
from models.ranking.pairs import neighbour_scores, pair_features, popularity_values


def state_of(seen, num_items):
    indptr = np.cumsum([0, *(len(rows) for rows in seen)])
    rows = np.concatenate([np.sort(rows) for rows in seen]).astype(np.int32)
    popularity = np.bincount(rows, minlength=num_items).astype(np.float32)
    return State(np.full((len(seen), 2), -1, np.int32), indptr, rows, popularity)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_neighbour_scores_equal_the_double_loop(seed):
    random = np.random.default_rng(seed)
    num_items, users, count = 12, 3, 4
    rows = random.integers(-1, num_items, (num_items, count))
    weights = np.where(rows < 0, 0, random.standard_normal((num_items, count))).astype(np.float32)
    candidates = random.integers(-1, num_items, (users, 5))
    owned = [random.integers(-1, num_items, random.integers(0, 6)) for _ in range(users)]
    expected = np.zeros(candidates.shape)
    for user in range(users):
        for place, candidate in enumerate(candidates[user]):
            if candidate >= 0:
                mine = set(owned[user][owned[user] >= 0].tolist())
                pairs = zip(rows[candidate].tolist(), weights[candidate].tolist(), strict=True)
                expected[user, place] = sum(weight for row, weight in pairs if row in mine)
    np.testing.assert_allclose(neighbour_scores(candidates, owned, rows, weights), expected, atol=1e-6)


def test_pair_features_stand_in_the_order_of_their_names_and_are_zero_without_a_candidate():
    candidates = np.array([[2, 0, -1]])
    scores = np.array([[0.9, 0.5, 7.0]], np.float32)
    popularity = np.array([1.0, 2.0, 3.0], np.float32)
    pairs = pair_features(["popularity", "retrieval_score"], candidates, scores, [], popularity)
    np.testing.assert_array_equal(pairs, np.array([[[3, 0.9], [1, 0.5], [0, 0]]], np.float32))


def test_an_unknown_pair_feature_is_refused_by_name():
    with pytest.raises(ValueError, match="'weather'"):
        pair_features(["weather"], np.zeros((1, 1), int), np.zeros((1, 1)), [])


def test_popularity_does_not_depend_on_the_length_of_the_log():
    counts = np.array([1.0, 3.0, 0.0])
    np.testing.assert_allclose(popularity_values(counts), popularity_values(7 * counts))
    np.testing.assert_allclose(popularity_values(counts), np.log1p(3 * counts / 4), rtol=1e-6)


def test_ridge_neighbours_are_the_regression_of_each_item_on_the_others():
    random = np.random.default_rng(3)
    matrix = (random.random((40, 6)) < 0.4).astype(float)
    found = fit_neighbours(state_of([np.flatnonzero(row) for row in matrix], 6), 5, 2.0, exact_up_to=10)
    for item in range(6):
        others = [other for other in range(6) if other != item]
        design = matrix[:, others]
        solved = np.linalg.solve(design.T @ design + 2.0 * np.eye(5), design.T @ matrix[:, item])
        np.testing.assert_array_equal(found.rows[item], others)
        np.testing.assert_allclose(found.weights[item], solved, atol=1e-4)


def test_above_the_limit_neighbours_are_cosines_of_co_occurrence():
    found = fit_neighbours(state_of([[0, 1], [0, 1], [0, 2], [1]], 4), 2, 1.0, exact_up_to=3)
    np.testing.assert_array_equal(found.rows[0], [1, 2])
    np.testing.assert_allclose(found.weights[0], [2 / 3, 1 / np.sqrt(3)], rtol=1e-6)
    # Nobody has item 3.
    assert (found.rows[3] == -1).all()
    assert (found.weights[3] == 0).all()


def test_platt_scaling_recovers_the_scale_and_offset_of_the_labels():
    random = np.random.default_rng(0)
    logits = random.normal(3.0, 2.0, 200_000)
    labels = random.random(200_000) < 1 / (1 + np.exp(-(0.5 * logits - 2.0)))
    assert fit_platt(labels, logits) == pytest.approx((0.5, -2.0), abs=0.03)


def test_platt_scaling_never_turns_the_order_around():
    factor, _ = fit_platt(np.array([1, 1, 0, 0]), np.array([0.0, 0.1, 2.0, 2.1]))
    assert factor > 0
