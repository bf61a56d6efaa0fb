"""FAISS against brute force, and recall measured truthfully."""

from __future__ import annotations

import numpy as np
import pytest

from models.index.choose import choose_index
from models.index.config import IndexConfig
from models.index.factory import build_exact, build_ivf, exact_top_k, num_lists, recall_against


def unit(random, num_rows, num_clusters=0):
    rows = random.standard_normal((num_rows, 16))
    if num_clusters:
        rows = 0.3 * rows + random.standard_normal((num_clusters, 16))[random.integers(0, num_clusters, num_rows)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(embeddings, queries, k):
    return np.argsort(-(queries @ embeddings.T), axis=1, kind="stable")[:, :k]


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    return unit(random, 4000, num_clusters=30), unit(random, 64, num_clusters=30)


def test_the_exact_index_is_brute_force(vectors):
    embeddings, queries = vectors
    found = build_exact(embeddings).search(queries, 20)[1]
    assert found.tolist() == brute_force(embeddings, queries, 20).tolist()


def test_ivf_takes_the_smallest_nprobe_that_truly_reaches_the_target(vectors):
    embeddings, queries = vectors
    config = IndexConfig(kind="ivf", target_index_recall=0.9, recall_cutoff=10)
    chosen = choose_index(embeddings, queries, config)
    truth = brute_force(embeddings, queries, 10)
    for tried in chosen.measured:
        chosen.index.nprobe = tried.nprobe
        found = chosen.index.search(queries, 10)[1]
        by_hand = np.mean([len(set(t) & set(f)) / 10 for t, f in zip(truth.tolist(), found.tolist(), strict=True)])
        assert tried.index_recall_at_k == pytest.approx(by_hand)
    assert [tried.nprobe for tried in chosen.measured] == [2**i for i in range(len(chosen.measured))]
    assert [tried.index_recall_at_k >= 0.9 for tried in chosen.measured][-2:] == [False, True]
    assert chosen.picked.kind == "ivf"
    assert chosen.index.ntotal == 4000


def test_a_target_out_of_reach_falls_back_to_exact():
    # Orthogonal noise in few lists: only probing every list, which is exact search, could find everything.
    random = np.random.default_rng(1)
    embeddings, queries = unit(random, 400), unit(random, 200)
    chosen = choose_index(embeddings, queries, IndexConfig(kind="ivf", target_index_recall=1.0, recall_cutoff=100))
    assert chosen.picked.kind == "exact"
    assert chosen.picked.index_recall_at_k == 1.0
    assert {tried.kind for tried in chosen.measured[:-1]} == {"ivf"}


def test_auto_is_exact_up_to_the_limit(vectors):
    embeddings, queries = vectors
    assert choose_index(embeddings, queries, IndexConfig(exact_up_to=4000)).picked.kind == "exact"
    assert choose_index(embeddings, queries, IndexConfig(exact_up_to=3999, recall_cutoff=10)).picked.kind == "ivf"


def test_recall_counts_each_found_item_once_and_no_padding():
    assert recall_against(np.array([[0, 1, 2, 3]]), np.array([[2, 0, -1, -1]])) == 0.5
    assert num_lists(1_000_000) == 4000
    assert num_lists(10) == 1


@pytest.mark.gpu("faiss")
def test_the_gpu_builds_and_searches_as_brute_force(vectors):
    embeddings, queries = vectors
    truth, scores = brute_force(embeddings, queries, 20), queries @ embeddings.T
    index = build_ivf(embeddings, 20, on_gpu=True)
    index.nprobe = 20  # every list: exact
    for found in (exact_top_k(embeddings, queries, 20, on_gpu=True), index.search(queries, 20)[1]):
        by_rank = np.take_along_axis(scores, found, axis=1)  # near ties may swap
        np.testing.assert_allclose(by_rank, np.take_along_axis(scores, truth, axis=1), atol=1e-5)
        assert recall_against(truth, found) > 0.99
