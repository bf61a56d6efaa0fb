"""Each baseline against its formula, brute force or a known answer; the search against an exhaustive one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models.baselines.als import ALS
from models.baselines.bm25_knn import BM25KNN
from models.baselines.bpr import BPR
from models.baselines.ease import EASE, ridge_weights
from models.baselines.neighbours import leading
from models.baselines.rp3beta import RP3beta, walk_weights
from models.baselines.segment_popularity import SegmentPopularity
from models.baselines.tuning import search

NUM_USERS, NUM_ITEMS = 30, 14


def random_matrix(seed=0, density=0.3):
    dense = (np.random.default_rng(seed).random((NUM_USERS, NUM_ITEMS)) < density).astype(np.float32)
    dense[3] = 0  # a user without a past
    dense[:, 5] = 0  # an item that nobody had
    return dense


def fitted(model, dense):
    model.fit(csr_matrix(dense), dense.sum(axis=0))
    return model


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_ease_equals_a_ridge_regression_of_each_item_on_the_others(l2):
    dense = random_matrix().astype(np.float64)
    got = ridge_weights(csr_matrix(dense.astype(np.float32)), l2)
    for item in range(NUM_ITEMS):
        others = np.delete(np.arange(NUM_ITEMS), item)
        x = dense[:, others]
        weights = np.linalg.solve(x.T @ x + l2 * np.eye(len(others)), x.T @ dense[:, item])
        np.testing.assert_allclose(got[others, item], weights, atol=2e-5)
        assert got[item, item] == 0
    scores = fitted(EASE(l2), dense.astype(np.float32)).scores(np.array([7, 2]))
    np.testing.assert_allclose(scores, dense[[7, 2]] @ got, atol=1e-5)


@pytest.mark.parametrize(("alpha", "beta", "kept"), [(1.0, 0.0, 14), (0.7, 0.4, 14), (1.2, 0.6, 3)])
def test_rp3beta_equals_the_dense_walk(alpha, beta, kept, monkeypatch):
    monkeypatch.setattr("models.baselines.rp3beta.CHUNK_ITEMS", 5)
    dense = random_matrix(1).astype(np.float64)
    per_user, per_item = (np.maximum(dense.sum(axis=axis), 1) for axis in (1, 0))
    walk = (dense / per_item).T ** alpha @ (dense / per_user[:, None]) ** alpha / per_item**beta
    np.fill_diagonal(walk, 0)
    for row in walk:
        row[np.lexsort((np.arange(NUM_ITEMS), -row.astype(np.float32)))[kept:]] = 0
    got = walk_weights(csr_matrix(dense.astype(np.float32)), kept, alpha, beta)
    np.testing.assert_allclose(got.toarray(), walk, rtol=1e-5, atol=1e-7)
    scores = fitted(RP3beta(kept, alpha, beta), dense.astype(np.float32)).scores(np.array([0, 9]))
    np.testing.assert_allclose(scores, dense[[0, 9]] @ walk, rtol=1e-4, atol=1e-7)


def test_with_alpha_one_and_beta_zero_the_walk_is_a_probability():
    dense = random_matrix(2)
    cells = csr_matrix(dense)
    got = walk_weights(cells, NUM_ITEMS, 1.0, 0.0)
    per_user, per_item = (np.maximum(dense.sum(axis=axis), 1) for axis in (1, 0))
    home = ((dense / per_item).T * (dense / per_user[:, None]).T).sum(axis=1)  # walks that end where they began
    wanted = np.where(dense.any(axis=0), 1 - home, 0)
    np.testing.assert_allclose(np.asarray(got.sum(axis=1)).ravel(), wanted, atol=1e-6)


@given(st.integers(0, 10_000), st.floats(0.02, 0.9), st.integers(1, 9))
@settings(max_examples=60)
def test_the_largest_of_a_row_are_those_of_sorting_it_without_its_diagonal(seed, density, k):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((6, 11)) < density, rng.integers(1, 4, (6, 11)), 0).astype(np.float32)
    expected = np.zeros_like(dense)
    for row in range(6):
        others = [column for column in range(11) if column != row + 2]
        for column in sorted(others, key=lambda j: (-dense[row, j], j))[:k]:
            expected[row, column] = dense[row, column]
    np.testing.assert_array_equal(leading(csr_matrix(dense), k, 2).toarray(), expected)


@pytest.fixture
def groups():
    """Users of three groups, each with all but two of its group's eight items."""
    rng = np.random.default_rng(4)
    dense = np.zeros((60, 24), np.float32)
    for user in range(60):
        dense[user, rng.permutation(np.arange(user % 3, 24, 3))[2:]] = 1
    return dense


@pytest.mark.parametrize(
    "model", [BM25KNN(7), BM25KNN(7, by_candidate=True), ALS(8), BPR(8, iterations=60)], ids=lambda m: m.name
)
def test_the_library_s_models_complete_the_groups_and_fall_back_to_popularity(model, groups):
    pytest.importorskip("implicit", reason="the extra 'baselines' is not installed")
    groups[0] = 0
    groups[:, 23] = 0
    popularity = groups.sum(axis=0)
    fitted(model, groups)
    everything = np.ones(24, bool)
    users = np.arange(1, 60)
    slates, _ = model.recommend(users, 1, eligible=everything, seen=csr_matrix(groups))
    assert (slates[:, 0] % 3 == users % 3).all()
    newcomer, _ = model.recommend(np.array([0]), 24, eligible=everything, seen=None)
    assert newcomer[0, 0] == np.lexsort((np.arange(24), -popularity))[0]
    assert newcomer[0, -1] == 23
    again = fitted(type(model)(**{k: v for k, v in vars(model).items() if not k.startswith("_")}), groups)
    np.testing.assert_array_equal(again.scores(users), model.scores(users))


def test_bm25_votes_equal_the_weighted_matrix_s_products():
    pytest.importorskip("implicit", reason="the extra 'baselines' is not installed")
    dense, k1, b = random_matrix(5).astype(np.float64), 1.5, 0.6
    idf = np.log(NUM_ITEMS) - np.log1p(dense.sum(axis=1))  # of a user, the "word" of an item
    length = dense.sum(axis=0)
    norm = (1 - b) + b * length / length.mean()
    weighted = dense * (k1 + 1) / (k1 * norm + dense) * idf[:, None]
    similar = weighted.T @ weighted
    scores = fitted(BM25KNN(NUM_ITEMS, k1, b), dense.astype(np.float32)).scores(np.arange(NUM_USERS))
    np.testing.assert_allclose(scores, dense @ similar, rtol=1e-4)


def test_popularity_in_a_segment_counts_its_users_alone():
    dense = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], np.float32)
    model = fitted(SegmentPopularity(np.array(["a", "a", "b", "b", "c"])), dense)
    np.testing.assert_array_equal(model.scores(np.array([3, 1])), [[0, 0, 2, 1], [1, 2, 0, 0]])
    newcomer, _ = model.recommend(np.array([4]), 4, eligible=np.ones(4, bool), seen=None)
    assert newcomer.tolist() == [[1, 2, 0, 3]]  # nobody of its segment had anything: overall popularity


def test_the_search_finds_the_top_of_a_separable_grid_and_tries_no_point_twice():
    grid = {"a": (0, 1, 2, 3), "b": (5, 6, 7), "c": ("x", "y")}
    value = {"x": 0.0, "y": 0.5}
    calls = []

    def measure(params):
        calls.append(tuple(params.values()))
        return -((params["a"] - 2) ** 2) - abs(params["b"] - 7) + value[params["c"]]

    found = search(grid, measure, budget_s=1e9)
    best = max(itertools.product(*grid.values()), key=lambda point: measure(dict(zip(grid, point, strict=True))))
    assert tuple(found.best.values()) == best == (2, 7, "y")
    assert found.ended
    tried = calls[: len(found.trials)]
    assert len(set(tried)) == len(tried)
    assert tried[0] == (0, 5, "x")


def test_a_search_without_budget_tries_the_first_point_and_says_so():
    found = search({"a": (3, 1)}, lambda params: -params["a"], budget_s=1e-12)
    assert [trial.params for trial in found.trials] == [{"a": 3}]
    assert not found.ended
