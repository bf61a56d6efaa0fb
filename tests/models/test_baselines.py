"""Baselines against brute force, and on the real data against the published table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix

from models.baselines.base import top_k
from models.baselines.ease import EASE
from models.baselines.item_knn import ItemKNN, cosine_neighbours
from models.baselines.neighbours import leading
from models.baselines.popularity import Popularity, popularity_rank
from models.baselines.rp3beta import RP3beta
from models.metrics.ranking import per_user


def checkerboard(size=10):
    """Even users had even items, odd users odd ones; each user lacks the item of its own number."""
    dense = (np.add.outer(np.arange(size), np.arange(size)) % 2 == 0).astype(np.float32)
    np.fill_diagonal(dense, 0)
    return csr_matrix(dense)


scores_with_ties = st.tuples(st.integers(1, 4), st.integers(1, 9)).flatmap(
    lambda shape: arrays(
        np.float32, shape, elements=st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 2.0**-40, 1.0, 7.0])
    )
)


@given(scores_with_ties, st.integers(1, 12), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_top_k_equals_sorting_every_row(scores, k, random):
    rank = np.array(random.sample(range(scores.shape[1]), scores.shape[1]))
    columns, values = top_k(scores, k, rank)
    for row, (got, value) in enumerate(zip(columns, values, strict=True)):
        order = sorted(range(scores.shape[1]), key=lambda i: (-scores[row, i], rank[i]))[:k]
        assert got.tolist() == [i if scores[row, i] > -np.inf else -1 for i in order]
        assert value.tolist() == scores[row, order].tolist()


def test_item_knn_finds_the_missing_square_of_the_checkerboard():
    board = checkerboard()
    model = ItemKNN(4)
    model.fit(board, np.asarray(board.sum(0), np.float32).ravel())
    rows, _ = model.recommend(np.arange(10), 1, eligible=np.ones(10, bool), seen=board)
    assert rows[:, 0].tolist() == list(range(10))


@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_neighbours_and_scores_equal_a_dense_loop(shrinkage, monkeypatch):
    monkeypatch.setattr("models.dataset.blocks.BLOCK_ITEMS", 7)
    rng = np.random.default_rng(0)
    dense = (rng.random((40, 23)) < 0.25).astype(np.float32)
    dense[:, 5] = 0  # an item that nobody had
    counts = dense.sum(0)
    expected = np.zeros((23, 23))
    for i in range(23):
        similarity = [
            0.0 if i == j or not counts[i] * counts[j]
            else (dense[:, i] @ dense[:, j]) / (np.sqrt(counts[i] * counts[j]) + shrinkage)
            for j in range(23)
        ]  # fmt: skip
        for j in sorted(range(23), key=lambda j: (-np.float32(similarity[j]), j))[:6]:
            expected[i, j] = similarity[j]
    got = cosine_neighbours(csr_matrix(dense), 6, shrinkage)
    np.testing.assert_allclose(got.toarray(), expected, rtol=1e-6)
    model = ItemKNN(6, shrinkage)
    model.fit(csr_matrix(dense), counts)
    np.testing.assert_allclose(model.scores(np.array([3, 0])), dense[[3, 0]] @ expected.T, rtol=1e-5)


@pytest.mark.parametrize("model", [Popularity(), ItemKNN(5)])
def test_only_eligible_unseen_items_are_shown_in_any_batching(model, monkeypatch):
    rng = np.random.default_rng(2)
    seen = csr_matrix((rng.random((30, 12)) < 0.5).astype(np.float32))
    popularity = np.asarray(seen.sum(0), np.float32).ravel()
    eligible = rng.random(12) < 0.7
    model.fit(seen, popularity)
    users = np.array([4, 29, 4, 0])
    rows, scores = model.recommend(users, 15, eligible=eligible, seen=seen)
    for user, slate, score in zip(users, rows, scores, strict=True):
        allowed = set(np.flatnonzero(eligible & (seen[user].toarray().ravel() == 0)).tolist())
        assert set(slate[slate >= 0].tolist()) == allowed
        assert (np.diff(score[: len(allowed)]) <= 0).all()
        assert np.isneginf(score[len(allowed) :]).all()
    monkeypatch.setattr("models.baselines.base.CHUNK_CELLS", 12)
    again, _ = model.recommend(users, 15, eligible=eligible, seen=seen)
    assert again.tolist() == rows.tolist()


@pytest.mark.parametrize(("num_neighbours", "shrinkage"), [(3, 0.0), (20, 5.0), (5000, 0.0)])
def test_neighbours_are_those_of_a_product_of_sparse_matrices_to_the_bit(num_neighbours, shrinkage):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 600, 9000), (1500 * rng.random(9000) ** 2).astype(int)
    matrix = csr_matrix((np.ones(9000, np.float32), (users, items)), shape=(600, 1500))
    matrix.data[:] = 1
    norms = np.sqrt(np.asarray(matrix.sum(axis=0), np.float64)).ravel()
    shared = (matrix.T.tocsr() @ matrix).tocoo()
    shared.data = (shared.data / (norms[shared.row] * norms[shared.col] + shrinkage)).astype(np.float32)
    expected = leading(shared.tocsr(), num_neighbours, 0)
    got = cosine_neighbours(matrix, num_neighbours, shrinkage)
    assert got.indptr.tolist() == expected.indptr.tolist()
    assert got.indices.tolist() == expected.indices.tolist()
    assert got.data.tobytes() == expected.data.tobytes()


def test_a_user_without_history_gets_popular_items_from_item_knn():
    popularity = np.array([1, 9, 9, 4], np.float32)
    model = ItemKNN(2)
    model.fit(csr_matrix((1, 4), dtype=np.float32), popularity)
    rows, _ = model.recommend(np.array([0]), 4, eligible=np.ones(4, bool), seen=None)
    assert rows.tolist() == [[1, 2, 3, 0]]


def test_popularity_ties_go_to_the_smaller_row():
    assert popularity_rank(np.array([2, 5, 5, 0], np.float32)).tolist() == [2, 0, 1, 3]


# recall@10, recall@20, NDCG@20 of tuned baselines, from the table beside the data; implicit's item-kNN keeps 20
# neighbours and counts the item itself among them, which leaves 19.
PUBLISHED = {
    ("goodbooks", "book_id", "popularity"): (0.0504, 0.0917, 0.0484),
    ("goodbooks", "book_id", "item_knn"): (0.1620, 0.2328, 0.1412),
    ("anime", "anime_id", "popularity"): (0.0974, 0.1460, 0.1226),
    ("anime", "anime_id", "item_knn"): (0.1946, 0.2925, 0.2518),
    ("goodbooks", "book_id", "rp3beta"): (0.1665, 0.2388, 0.1448),
    ("goodbooks", "book_id", "ease"): (0.1752, 0.2476, 0.1460),
    ("anime", "anime_id", "ease"): (0.3312, 0.4325, 0.4246),
}


@pytest.mark.shared
@pytest.mark.parametrize("key", PUBLISHED)
def test_the_published_table_is_reproduced(key, shared_data):
    import pyarrow.parquet as pq

    folder, column, name = key
    events = pq.read_table(shared_data / folder / "events.parquet", columns=["user_id", column, "split"]).to_pandas()
    catalogue = np.unique(pq.read_table(shared_data / folder / "items.parquet", columns=[column])[column].to_numpy())
    users, user = np.unique(events["user_id"], return_inverse=True)
    item = np.searchsorted(catalogue, events[column])
    fit = (events["split"] != "test").to_numpy()
    shape = (len(users), len(catalogue))
    known = csr_matrix((np.ones(fit.sum(), np.float32), (user[fit], item[fit])), shape=shape)
    wanted = csr_matrix((np.ones((~fit).sum()), (user[~fit], item[~fit])), shape=shape)
    asked = np.flatnonzero(np.diff(wanted.indptr))
    model = {
        "popularity": Popularity(),
        "item_knn": _ByHistory(19),
        "rp3beta": RP3beta(1000, alpha=1.0, beta=0.5),
        "ease": EASE(l2=100.0 if folder == "anime" else 250.0),
    }[name]
    model.fit(known, np.asarray(known.sum(0), np.float32).ravel())
    slates, _ = model.recommend(asked, 20, eligible=np.ones(len(catalogue), bool), seen=known)
    got = per_user(slates, np.append(wanted.indptr[asked], wanted.nnz), wanted.indices, [10, 20])
    values = [got[metric].mean() for metric in ("recall@10", "recall@20", "ndcg@20")]
    np.testing.assert_allclose(values, PUBLISHED[key], atol=0.0005)


class _ByHistory(ItemKNN):
    """The direction of other libraries: every item of the history votes for its own neighbours."""

    def fit(self, interactions, popularity):
        super().fit(interactions, popularity)
        self._votes = self._votes.T.tocsr()
