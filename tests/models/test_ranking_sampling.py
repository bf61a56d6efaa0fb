import msgspec
import numpy as np
import pytest

from models.dataset.features import Features, State
from models.dataset.new_positives import is_new
from models.ranking.config import RankingConfig
from models.ranking.latest import hold_back_latest
from models.ranking.pairing import PairSource, choose_pairs
from models.ranking.sampling import MAX_POSITIVES_PER_USER, sample_groups
from workflows.features.schema import Feature, FeatureSchema

NUM_USERS, NUM_ITEMS, LENGTH, DIM = 15, 30, 4, 5
SCHEMA = FeatureSchema(
    [
        Feature("user_id", "user", "categorical", NUM_USERS + 3, 0, "user_id"),
        Feature("recent_item_ids", "history", "categorical", NUM_ITEMS + 3, LENGTH, "item_id"),
        Feature("item_id", "item", "categorical", NUM_ITEMS + 3, 0, "item_id"),
    ],
    [],
    None,
    LENGTH,
)
CONFIG = RankingConfig(negatives_per_positive=10, retrieved_negatives=0.5, candidate_pool=12)


class Tower:
    def __init__(self):
        self.item_embeddings = np.random.default_rng(0).standard_normal((NUM_ITEMS, DIM)).astype(np.float32)

    def embed(self, query):
        by_code = np.random.default_rng(1).standard_normal((NUM_USERS + 3, DIM)).astype(np.float32)
        return by_code[query["user_id"][:, 0]]


class Retriever:
    """Item-item scores that are told apart from the towers', merged with weights of two and one half."""

    def __init__(self):
        self.tower = Tower()

    def neighbour_scores(self, user_row):
        return np.random.default_rng(2).standard_normal((NUM_USERS, NUM_ITEMS)).astype(np.float32)[user_row]

    def merged_scores(self, embedded, neighbour):
        return 2.0 * (embedded @ self.tower.item_embeddings.T) + 0.5 * neighbour


def rows_of(user_row, item_row):
    columns = {"user_row": np.asarray(user_row, np.int32), "item_row": np.asarray(item_row, np.int32)}
    columns["at"] = np.arange(len(columns["user_row"]))
    return columns | {"recent_item_ids": np.repeat(columns["item_row"][:, None] + 3, LENGTH, axis=1)}


@pytest.fixture
def features():
    users = {"user_id": np.arange(3, NUM_USERS + 3, dtype=np.int32)}
    return Features(SCHEMA, users, {"item_id": np.arange(3, NUM_ITEMS + 3, dtype=np.int32)})


@pytest.fixture
def state():
    random = np.random.default_rng(7)
    seen = [np.sort(random.choice(NUM_ITEMS, 8, replace=False)) for _ in range(NUM_USERS)]
    history = np.stack([rows[-LENGTH:] for rows in seen]).astype(np.int32)
    rows = np.concatenate(seen).astype(np.int32)
    popularity = np.bincount(rows, minlength=NUM_ITEMS).astype(np.float32)
    return State(history, np.arange(0, 8 * NUM_USERS + 1, 8), rows, popularity)


@pytest.fixture
def events():
    random = np.random.default_rng(8)
    return rows_of(np.repeat(np.arange(NUM_USERS), 4), random.integers(0, NUM_ITEMS, 4 * NUM_USERS))


def draw(events, features, state, config=CONFIG):
    pairs = PairSource(choose_pairs(config, sampled=True), Retriever(), state)
    return sample_groups(events, features, state, pairs, config)


def test_the_target_is_in_no_history_and_was_not_seen(events, features, state):
    groups = draw(events, features, state)
    targets = groups.item_rows[:, 0]
    assert len(targets) > NUM_USERS
    assert not (groups.query["recent_item_ids"] == targets[:, None] + 3).any()
    assert not any(target in state.seen(user) for user, target in zip(groups.user_row, targets, strict=True))


def test_negatives_are_never_seen_nor_positive(events, features, state):
    groups = draw(events, features, state)
    positives = {}
    for user, item in zip(events["user_row"].tolist(), events["item_row"].tolist(), strict=True):
        positives.setdefault(user, set()).add(item)
    for user, rows in zip(groups.user_row.tolist(), groups.item_rows, strict=True):
        negatives = {row for row in rows[1:].tolist() if row >= 0}
        assert negatives
        assert not negatives & (positives[user] | set(state.seen(user).tolist()))


def test_without_popular_ones_all_negatives_are_distinct_top_candidates(events, features, state):
    config = msgspec.structs.replace(CONFIG, retrieved_negatives=1.0, negatives_per_positive=4, candidate_pool=6)
    groups = draw(events, features, state, config)
    retriever = Retriever()
    scores = retriever.merged_scores(retriever.tower.embed(groups.query), retriever.neighbour_scores(groups.user_row))
    for place, rows in enumerate(groups.item_rows):
        user = groups.user_row[place]
        scores[place, state.seen(user)] = -np.inf
        scores[place, events["item_row"][events["user_row"] == user]] = -np.inf
        assert set(rows[1:].tolist()) <= set(np.argsort(-scores[place])[:6].tolist())
        assert len(set(rows[1:].tolist())) == 4


def test_without_context_a_user_is_asked_for_once(events, features, state):
    asked = []

    class Counting(Retriever):
        def neighbour_scores(self, user_row):
            asked.extend(user_row.tolist())
            return super().neighbour_scores(user_row)

    pairs = PairSource(choose_pairs(CONFIG, sampled=True), Counting(), state)
    groups = sample_groups(events, features, state, pairs, CONFIG)
    assert len(asked) == len(set(asked)) < len(groups.user_row) and set(groups.user_row.tolist()) <= set(asked)
    negatives = {}
    for user, rows in zip(groups.user_row.tolist(), groups.item_rows[:, 1:].tolist(), strict=True):
        negatives.setdefault(user, []).append(tuple(rows))
    assert any(len(set(drawn)) > 1 for drawn in negatives.values())  # each positive has its own


def test_the_pair_features_are_those_of_the_snapshot(events, features, state):
    groups = draw(events, features, state)
    retriever = Retriever()
    scores = retriever.tower.embed(groups.query) @ retriever.tower.item_embeddings.T
    support = retriever.neighbour_scores(groups.user_row)
    assert choose_pairs(CONFIG, sampled=True) == ["tower_score", "neighbour_score", "popularity"]
    rows = np.maximum(groups.item_rows, 0)
    for position, values in enumerate((scores, support)):
        expected = np.where(groups.item_rows < 0, 0, np.take_along_axis(values, rows, axis=1))
        np.testing.assert_allclose(groups.pair[..., position], expected, atol=1e-5)
    share = state.popularity * (NUM_ITEMS / state.popularity.sum())
    np.testing.assert_allclose(groups.pair[..., 2], np.where(groups.item_rows < 0, 0, np.log1p(share)[rows]), atol=1e-6)


def test_the_same_seed_draws_the_same_rows(events, features, state):
    first, second = draw(events, features, state), draw(events, features, state)
    np.testing.assert_array_equal(first.item_rows, second.item_rows)


def test_what_is_new_to_its_user(features, state):
    had = state.seen(0)[0]
    other = np.setdiff1d(np.arange(NUM_ITEMS), state.seen(1))[0]
    assert is_new(rows_of([0, 1, 1, -1], [had, other, state.seen(1)[2], other]), state).tolist() == [
        *(False, True, False, False)
    ]


def test_the_latest_train_positive_of_each_user_is_held_back_from_what_is_known():
    """Worked by hand: user 0 had 4, 2, 4 and then 3; user 1 had 5 alone; user 2 had nothing."""
    history = np.array([[4, 2, 4, 3], [5, -1, -1, -1], [-1, -1, -1, -1]], np.int32)
    state = State(history, np.array([0, 3, 4, 4]), np.array([2, 3, 4, 5], np.int32), np.array([0, 0, 1, 1, 2, 1.0]))
    rows, before = hold_back_latest(rows_of([0, 1, 0, 0, 0], [4, 5, 2, 4, 3]), state)
    assert [rows["user_row"].tolist(), rows["item_row"].tolist()] == [[0, 1], [3, 5]]
    assert before.history.tolist() == [[4, 2, 4, -1], [-1] * 4, [-1] * 4]
    assert [before.seen(user).tolist() for user in range(3)] == [[2, 4], [], []]
    assert before.popularity.tolist() == [0, 0, 1, 0, 2, 0]
    assert is_new(rows, before).all()


def test_impressions_have_no_pair_feature_unless_asked():
    assert choose_pairs(RankingConfig(), sampled=False) == []
    assert choose_pairs(RankingConfig(use_retrieval_score="yes"), sampled=False) == [
        "tower_score",
        "neighbour_score",
    ]
    assert choose_pairs(RankingConfig(use_retrieval_score="no"), sampled=True) == ["popularity"]


def test_a_user_with_many_positives_counts_as_a_few_and_none_of_them_is_a_negative(features, state):
    many = np.setdiff1d(np.arange(NUM_ITEMS), state.seen(0))[:14]
    events = rows_of([0] * 14 + [1], [*many, np.setdiff1d(np.arange(NUM_ITEMS), state.seen(1))[0]])
    groups = draw(events, features, state, msgspec.structs.replace(CONFIG, candidate_pool=NUM_ITEMS))
    assert np.bincount(groups.user_row).tolist() == [MAX_POSITIVES_PER_USER, 1]
    of_first = groups.item_rows[groups.user_row == 0]
    assert len(set(of_first[:, 0].tolist())) == MAX_POSITIVES_PER_USER
    assert not np.isin(of_first[:, 1:], many).any()


def test_a_positive_that_retrieval_does_not_find_is_left_out(events, features, state):
    groups = draw(events, features, state)
    everything = draw(events, features, state, msgspec.structs.replace(CONFIG, candidate_pool=NUM_ITEMS))
    retriever = Retriever()

    def is_found(user, item):
        query = {"user_id": np.array([[user + 3]])}
        scores = retriever.merged_scores(retriever.tower.embed(query), retriever.neighbour_scores(np.array([user])))[0]
        scores[state.seen(user)] = -np.inf
        return item in np.argsort(-scores)[: CONFIG.candidate_pool]

    pairs = list(zip(everything.user_row.tolist(), everything.item_rows[:, 0].tolist(), strict=True))
    wanted = [pair for pair in pairs if is_found(*pair)]
    assert 0 < len(wanted) < len(pairs)
    assert list(zip(groups.user_row.tolist(), groups.item_rows[:, 0].tolist(), strict=True)) == wanted


def test_where_retrieval_finds_no_positive_all_are_kept(features, state):
    rows = [(0, item) for item in np.setdiff1d(np.arange(NUM_ITEMS), state.seen(0))]
    config = msgspec.structs.replace(CONFIG, candidate_pool=1)
    found = draw(rows_of(*zip(*rows, strict=True)), features, state, config).item_rows[:, 0]
    assert len(found) == 1
    others = [item for _, item in rows if item != found[0]]
    assert len(draw(rows_of([0] * len(others), others), features, state, config).item_rows) == MAX_POSITIVES_PER_USER
