"""Item-item weights against dense algebra and loops; the choice of settings on data whose answer is known."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models.dataset.features import State
from models.neighbours.blend import Blend
from models.neighbours.choose import ValidationUsers, choose, ndcg
from models.neighbours.config import NeighboursConfig
from models.neighbours.counts import SharedUsers, recent_matrix, seen_matrix, thin
from models.neighbours.ridge import local_ridge
from models.neighbours.walks import walk_weights
from models.neighbours.weights import fit_weights, score_matrix, to_lists
from models.retrieval.validation import ValidationSet
from runtime.neighbours import NeighbourLists, Recency, neighbour_scores


def state_of(seen, num_items):
    indptr = np.cumsum([0, *map(len, seen)])
    rows = np.concatenate([np.sort(rows) for rows in seen]).astype(np.int32)
    popularity = np.bincount(rows, minlength=num_items).astype(np.float32)
    return State(np.full((len(seen), 2), -1, np.int32), indptr, rows, popularity)


def random_matrix(seed, num_users=60, num_items=9, share=0.4):
    return (np.random.default_rng(seed).random((num_users, num_items)) < share).astype(np.float32)


def lists_of(random, num_items, longest=5):
    lists = [np.sort(random.choice(num_items, random.integers(0, longest), replace=False)) for _ in range(num_items)]
    indptr = np.cumsum([0, *map(len, lists)])
    return NeighbourLists(
        indptr, np.concatenate(lists).astype(np.int32), random.standard_normal(indptr[-1]).astype("f")
    )


@given(st.integers(0, 10_000), st.sampled_from([12, 4000]))
@settings(max_examples=40)
def test_neighbour_scores_equal_a_loop_over_what_the_user_has(seed, num_items):
    random = np.random.default_rng(seed)
    lists = lists_of(random, num_items)
    recent = random.integers(0, num_items, random.integers(0, 5))
    seen = np.union1d(random.integers(0, num_items, random.integers(0, 8)), recent).astype(np.int64)
    counts = dict.fromkeys(seen.tolist(), 1.0)
    for age, item in enumerate(recent[::-1].tolist()):
        counts[item] += 2.0 * 0.5**age
    expected: dict[int, float] = {}
    for item, count in counts.items():
        for place in range(lists.indptr[item], lists.indptr[item + 1]):
            row = int(lists.rows[place])
            expected[row] = expected.get(row, 0.0) + count * float(lists.weights[place])
    rows, scores = neighbour_scores(lists, seen, recent, Recency(2.0, 0.5))
    assert rows.tolist() == sorted(expected)
    np.testing.assert_allclose(scores, [expected[row] for row in rows.tolist()], atol=1e-6)


def test_lists_are_saved_and_opened_as_they_were(tmp_path):
    lists = lists_of(np.random.default_rng(1), 20)
    lists.save(tmp_path / "lists")
    opened = NeighbourLists.load(tmp_path / "lists")
    for name in ("indptr", "rows", "weights"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(lists, name))


def test_with_all_items_as_neighbours_the_local_ridge_is_the_closed_form():
    matrix = random_matrix(3)
    counts = SharedUsers(sparse.csr_matrix(matrix), np.ones(len(matrix), np.float32)).all()
    rows, (weak, strong) = local_ridge(counts, 100, [2.0, 50.0])
    for l2, weights in ((2.0, weak), (50.0, strong)):
        inverse = np.linalg.inv(matrix.T.astype(float) @ matrix + l2 * np.eye(9))
        closed = -inverse / np.diag(inverse)
        for item in range(9):
            others = np.delete(np.arange(9), item)
            np.testing.assert_array_equal(rows[item], others)
            np.testing.assert_allclose(weights[item], closed[others, item], atol=1e-4)


def test_each_item_is_regressed_on_its_nearest_items_with_the_weights_of_the_users(monkeypatch):
    monkeypatch.setattr("models.neighbours.ridge.BLOCK_CELLS", 20)
    matrix, user_weights = random_matrix(4), np.random.default_rng(5).random(60).astype(np.float32)
    gram = matrix.T @ (user_weights[:, None] * matrix)
    rows, (weights,) = local_ridge(SharedUsers(sparse.csr_matrix(matrix), user_weights).all(), 3, [4.0])
    cosine = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    for item in range(9):
        others = np.delete(np.arange(9), item)
        nearest = np.sort(others[np.argsort(-cosine[item, others])[:3]])
        np.testing.assert_array_equal(rows[item], nearest)
        solved = np.linalg.solve(gram[np.ix_(nearest, nearest)] + 4.0 * np.eye(3), gram[nearest, item])
        np.testing.assert_allclose(weights[item], solved, atol=1e-4)


def test_walks_are_the_products_of_both_steps_damped_by_popularity():
    matrix = random_matrix(6)
    lengths, popularity = matrix.sum(axis=1), matrix.sum(axis=0)
    paths = SharedUsers(sparse.csr_matrix(matrix), (1 / np.maximum(lengths, 1)).astype(np.float32))
    expected = np.zeros((9, 9))
    for i in range(9):
        for j in range(9):
            if i != j:
                walks = sum(1 / lengths[u] for u in range(60) if matrix[u, i] and matrix[u, j])
                expected[i, j] = walks / (popularity[i] * popularity[j]) ** 0.6
    (walks,) = walk_weights(paths, popularity, [0.6], 9)
    np.testing.assert_allclose(walks.toarray(), expected, rtol=1e-5)
    best = walk_weights(paths, popularity, [0.0, 0.6], 2)[1].toarray()
    assert ((best > 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(best.max(axis=1), expected.max(axis=1), rtol=1e-5)


def test_shared_users_are_those_of_the_whole_matrix_product(monkeypatch):
    monkeypatch.setattr("models.dataset.blocks.BLOCK_ITEMS", 7)
    random = np.random.default_rng(12)
    for num_users, num_items, share in ((300, 40, 0.2), (50, 90, 0.02), (1, 1, 1.0), (0, 5, 0.0)):
        seen = sparse.csr_matrix(random_matrix(13, num_users, num_items, share))
        weights = random.random(num_users, np.float32) + np.float32(0.01)
        expected = (seen.T @ sparse.diags(weights) @ seen).tocsr().astype(np.float32)
        expected.sort_indices()
        shared = SharedUsers(seen, weights)
        for found in (shared.all(), sparse.vstack([shared.rows(i, i + 1) for i in range(num_items)], "csr")):
            assert found.has_canonical_format
            np.testing.assert_array_equal(found.indptr, expected.indptr)
            np.testing.assert_array_equal(found.indices, expected.indices)
            np.testing.assert_array_equal(found.data, expected.data)


def test_only_the_longest_lists_are_thinned_and_to_the_same_length():
    seen = seen_matrix(state_of([np.arange(8), np.arange(6), np.arange(2), []], 8))
    assert thin(seen, 104, seed=1) is seen
    thinned = thin(seen, 36, seed=1)
    assert np.diff(thinned.indptr).tolist() == [4, 4, 2, 0]
    assert (seen.toarray() >= thinned.toarray()).all()
    np.testing.assert_array_equal(thin(seen, 36, seed=1).toarray(), thinned.toarray())


def test_lists_sum_to_the_blend_of_both_scores():
    matrix = random_matrix(7)
    config = NeighboursConfig(regressed=4, walked=5)
    weights = fit_weights(state_of([np.flatnonzero(row) for row in matrix], 9), config, [1.0, 9.0], [0.6, 0.0])
    blend = Blend(walk_share=0.25, regression_scale=2.0, walk_scale=0.1)
    lists = to_lists(blend.matrix(weights.regressions[1], weights.walks[1]), 9)
    assert all((np.diff(lists.rows[a:b]) > 0).all() for a, b in pairwise(lists.indptr))
    expected = matrix @ (0.375 * weights.regressions[1] + 2.5 * weights.walks[1]).toarray().T
    np.testing.assert_allclose(matrix @ score_matrix(lists).toarray(), expected, atol=1e-5)
    rows, scores = neighbour_scores(lists, np.flatnonzero(matrix[0]), np.zeros(0, np.int32), Recency())
    np.testing.assert_allclose(scores, expected[0, rows], atol=1e-5)


def test_a_catalogue_of_one_item_has_no_neighbours():
    weights = fit_weights(state_of([[0], [0]], 1), NeighboursConfig(), [1.0], [0.6])
    assert weights.regressions[0].nnz == 0
    assert len(to_lists(Blend(0.5, 1.0, 1.0).matrix(weights.regressions[0], weights.walks[0]), 9).rows) == 0


def validation_users(matrix, relevant, embedded, item_embeddings, history=None):
    seen = [np.flatnonzero(row) for row in matrix]
    users = ValidationSet(np.arange(len(matrix)), inputs={}, relevant=relevant, seen=seen)
    history = np.full((len(matrix), 2), -1, np.int32) if history is None else history
    return ValidationUsers(users, sparse.csr_matrix(matrix), history, embedded, item_embeddings)


def test_the_source_that_knows_the_answer_gets_all_the_weight():
    """Item 2k and 2k + 1 always go together; the towers' scores are noise in one case and the answer in the other."""
    random = np.random.default_rng(8)
    pairs = np.eye(12)[:, :][random.integers(0, 6, 200) * 2]
    pairs = pairs + np.roll(pairs, 1, axis=1)
    config = NeighboursConfig(regressed=4, walked=4, validation_cutoff=1)
    weights = fit_weights(state_of([np.flatnonzero(row) for row in pairs], 12), config, config.l2, config.walk_powers)
    half = np.eye(12, dtype=np.float32)[::2]
    relevant = [np.array([2 * k + 1]) for k in range(6)]
    noise = random.standard_normal((6, 12)).astype(np.float32)
    chosen = choose(weights, validation_users(half, relevant, -noise, np.eye(12, dtype=np.float32)), config)
    assert chosen.neighbour_weight > 0
    assert {"walk_power", "l2", "walk_share", "recency_boost", "tower_share"} == {
        name for record in chosen.measured for name in record
    } - {"ndcg"}

    unrelated = fit_weights(state_of([[i] for i in range(12)], 12), config, config.l2, config.walk_powers)
    answers = np.eye(12, dtype=np.float32)[1::2]
    chosen = choose(unrelated, validation_users(half, relevant, answers, np.eye(12, dtype=np.float32)), config)
    assert chosen.tower_weight > 0


def test_ndcg_leaves_out_what_was_seen():
    users = ValidationSet(np.arange(1), inputs={}, relevant=[np.array([2])], seen=[np.array([0])])
    scores = np.array([[9.0, 1.0, 5.0]], np.float32)
    assert ndcg(users, lambda positions: scores[positions].copy(), 1) == 1.0
    assert ndcg(users, lambda positions: -scores[positions], 2) == pytest.approx(1 / np.log2(3))


def test_items_had_with_too_few_others_are_regressed_on_those_alone():
    matrix = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0]], np.float32)
    rows, (weights,) = local_ridge(SharedUsers(sparse.csr_matrix(matrix), np.ones(3, np.float32)).all(), 3, [1.0])
    assert rows.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1], [-1, -1, -1], [-1, -1, -1]]
    solved = np.linalg.solve(np.array([[3.0, 1.0], [1.0, 2.0]]), [2.0, 1.0])
    np.testing.assert_allclose(weights[0], [*solved, 0.0], atol=1e-6)
    assert not weights[3:].any()


def test_long_lists_keep_their_strongest_weights():
    dense = np.random.default_rng(9).standard_normal((6, 6)).astype(np.float32)
    dense[:, 4] = 0
    lists = to_lists(sparse.csr_matrix(dense), 2)
    assert np.diff(lists.indptr).tolist() == [2, 2, 2, 2, 0, 2]
    for source in range(6):
        span = slice(lists.indptr[source], lists.indptr[source + 1])
        strongest = np.sort(np.argsort(-np.abs(dense[:, source]))[:2]) if source != 4 else []
        assert lists.rows[span].tolist() == list(strongest)
        np.testing.assert_array_equal(lists.weights[span], dense[strongest, source] if source != 4 else [])


def test_without_validation_users_the_first_of_each_setting_is_taken():
    matrix = random_matrix(10)
    config = NeighboursConfig(regressed=4, walked=4)
    weights = fit_weights(state_of([np.flatnonzero(row) for row in matrix], 9), config, config.l2, config.walk_powers)
    nobody = validation_users(
        np.zeros((0, 9), np.float32), [], np.zeros((0, 2), np.float32), np.ones((9, 2), np.float32)
    )
    chosen = choose(weights, nobody, config)
    assert (chosen.walk, chosen.ridge, chosen.blend.walk_share) == (0, 0, config.walk_shares[0])
    assert chosen.tower_weight == pytest.approx(config.tower_shares[0])
    assert chosen.neighbour_weight == pytest.approx(1 - config.tower_shares[0])
    assert chosen.measured == []


def test_recent_items_count_more_the_later_they_were():
    history = np.array([[4, 1, 4], [2, -1, -1], [-1, -1, -1]], np.int32)
    expected = [[0, 4, 0, 0, 8 + 2, 0], [0, 0, 8, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    np.testing.assert_allclose(recent_matrix(history, 6, Recency(8.0, 0.5)).toarray(), expected)
    rows = np.array([1, 3, 4])
    np.testing.assert_allclose(Recency(8.0, 0.5).counts(rows, np.array([4, 1, 4])), [5.0, 1.0, 11.0])
    np.testing.assert_array_equal(Recency().counts(rows, np.array([4])), 1.0)


def test_where_the_next_item_follows_from_the_last_one_the_latest_items_are_boosted():
    """Users have three items; the next one is the partner of the latest."""
    random = np.random.default_rng(11)
    pairs = np.eye(12)[random.integers(0, 6, 300) * 2]
    config = NeighboursConfig(regressed=4, walked=4, validation_cutoff=1)
    weights = fit_weights(
        state_of([np.flatnonzero(row + np.roll(row, 1)) for row in pairs], 12), config, config.l2, config.walk_powers
    )
    starts = np.array([random.permutation(6)[:3] * 2 for _ in range(40)])
    matrix = np.zeros((40, 12), np.float32)
    matrix[np.arange(40)[:, None], starts] = 1
    relevant = [np.array([row[-1] + 1]) for row in starts]
    nothing = np.zeros((40, 2), np.float32), np.ones((12, 2), np.float32)
    chosen = choose(weights, validation_users(matrix, relevant, *nothing, starts.astype(np.int32)), config)
    assert chosen.recency.boost > 0
    backwards = validation_users(matrix, relevant, *nothing, starts[:, ::-1].astype(np.int32))
    assert choose(weights, backwards, config).recency.boost == 0


def test_popular_items_are_held_back_only_where_users_choose_the_rare_ones():
    """Every user has item 0 and one of the pairs 1-2, 3-4, ...; who has one of a pair takes the other, or item 0."""
    pairs = [np.array([0, 2 * k + 1, 2 * k + 2]) for k in range(5) for _ in range(4)]
    config = NeighboursConfig(regressed=4, walked=10, walk_powers=(0.3, 0.9, 0.0), validation_cutoff=1)
    weights = fit_weights(state_of(pairs, 11), config, config.l2, config.walk_powers)
    silent = sparse.csr_matrix((11, 11), dtype=np.float32)  # the regression, which would know the answer by itself
    weights = msgspec.structs.replace(weights, regressions=[silent for _ in config.l2])
    half = np.eye(11, dtype=np.float32)[1::2]
    nothing = np.zeros((5, 2), np.float32), np.ones((11, 2), np.float32)
    # Item 0 was had by five times as many users as the partner, and by all who had this one.
    rare = choose(weights, validation_users(half, [np.array([2 * k + 2]) for k in range(5)], *nothing), config)
    popular = choose(weights, validation_users(half, [np.array([0])] * 5, *nothing), config)
    measured = {r["walk_power"]: r["ndcg"] for r in rare.measured if "walk_power" in r}
    assert config.walk_powers[rare.walk] > 0 and measured == {0.3: 1.0, 0.9: 1.0, 0.0: 0.0}
    assert popular.walk == 2
