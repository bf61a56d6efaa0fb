"""Sources beside towers and lists: scores by their formulas, places by recall, and cold items reached."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.retrieval.validation import ValidationSet
from models.sources.base import AsOf, descending
from models.sources.choose import Candidates, Place, earns_a_place, recall_of
from models.sources.config import ContentConfig, LatestConfig, TrendingConfig
from models.sources.content import ContentFit, design_matrix
from models.sources.item_scores import DAY_NS, FittedScores, LatestFit, PopularityFit, TrendingFit
from runtime.sources.content import ROWS_FILE, VECTORS_FILE
from workflows.core.errors import ConfigError
from workflows.features.schema import Feature, FeatureSchema


def features_of(num_items: int, category: np.ndarray, price: np.ndarray, tags: np.ndarray):
    from models.dataset.features import Features

    schema = FeatureSchema(
        [
            Feature("user_id", "user", "categorical", 5, 0, "user_id"),
            Feature("item_id", "item", "categorical", num_items + 3, 0, "item_id"),
            Feature("category", "item", "categorical", 8, 0, "category"),
            Feature("price", "item", "continuous", 0, 0, "price"),
            Feature("tags", "item", "categorical", 6, 3, "tags"),
            Feature("recent_item_ids", "history", "categorical", num_items + 3, 2, "item_id"),
        ],
        [],
        None,
        2,
    )
    items = {"item_id": np.arange(num_items, dtype=np.int32), "category": category, "price": price, "tags": tags}
    return Features(schema=schema, users={"user_id": np.arange(3, 5, dtype=np.int32)}, items=items)


def as_of(num_items=4, rows=(), days=None, popularity=None, features=None, embeddings=None):
    from models.dataset.features import State

    rows = np.array(rows, np.int32)
    if features is None:
        zeros = np.zeros(num_items, np.int32)
        features = features_of(num_items, zeros, zeros.astype(np.float32), np.zeros((num_items, 3), np.int32))
    counts = np.bincount(rows, minlength=num_items) if popularity is None else popularity
    state = State(
        np.full((1, 2), -1, np.int32),
        np.zeros(2, np.int64),
        np.zeros(0, np.int32),
        np.asarray(counts, np.float32),
    )
    times = np.zeros(0, np.int64) if days is None else (np.array(days) * DAY_NS).astype(np.int64) + 10**18
    embeddings = np.zeros((num_items, 2)) if embeddings is None else embeddings
    return AsOf(None, "train", state, features, rows, times, embeddings)


def test_trending_counts_halve_with_every_half_life():
    known = as_of(rows=[0, 0, 0, 1, 2], days=[0.0, 0.0, 0.0, 6.0, 6.0 - 2.0])
    (fitted,) = TrendingFit(TrendingConfig(half_life_days=(2.0,))).candidates(known)
    (scores,) = fitted.scores(np.zeros((1, 2), np.float32))
    # 3 * 2**-3, 1, 2**-1, beside the largest; an item without events is never given.
    assert scores.tolist() == [0.375, 1.0, 0.5, -np.inf]
    assert descending(scores).tolist() == [1, 2, 0]
    assert fitted.files["sources/trending/scores.npy"].tolist() == [0.375, 1.0, 0.5, 0.0]


def test_without_timestamps_nothing_is_trending_or_latest():
    assert TrendingFit(TrendingConfig()).candidates(as_of(rows=[0])) == "the events have no timestamps"
    assert "no timestamps" in LatestFit(LatestConfig()).candidates(as_of(rows=[0]))


def test_latest_goes_by_the_first_event_where_no_column_is_named():
    known = as_of(rows=[0, 1, 0, 2], days=[1.0, 2.0, 9.0, 5.0])
    (fitted,) = LatestFit(LatestConfig()).candidates(known)
    assert descending(fitted.scores(np.zeros((1, 2)))[0]).tolist() == [2, 1, 0]


def test_latest_goes_by_a_column_and_knows_nothing_of_the_future():
    known = as_of(rows=[0, 1], days=[1.0, 3.0])
    dates = np.array([1e18 + 2 * DAY_NS, np.nan, 1e18 + DAY_NS, 1e18 + 9 * DAY_NS])
    fit = LatestFit(LatestConfig(column="released"))
    fit._dates = lambda _: dates  # the table itself is read in the test of the whole stage
    (fitted,) = fit.candidates(known)
    assert descending(fitted.scores(np.zeros((1, 2)))[0]).tolist() == [0, 2]


def test_popularity_is_the_count_beside_the_largest():
    (fitted,) = PopularityFit().candidates(as_of(rows=[1, 1, 2]))
    assert fitted.scores(np.zeros((1, 2)))[0].tolist() == [0.0, 1.0, 0.5, 0.0]
    assert fitted.files == {}


def test_features_become_columns_and_the_id_does_not():
    tags = np.array([[3, 4, 0], [3, 0, 0], [4, 0, 0], [0, 0, 0]], np.int32)
    features = features_of(4, np.array([3, 3, 5, 1], np.int32), np.array([1.5, 0, 0, 2], np.float32), tags)
    design = design_matrix(features, 100).toarray()
    # category 1, 3, 5; tags 3, 4, half each where there are two; the constant; the price.
    assert sorted(map(tuple, design.T.round(3).tolist())) == sorted(
        [(0, 0, 0, 1), (1, 1, 0, 0), (0, 0, 1, 0), (0.5, 1, 0, 0), (0.5, 0, 1, 0), (1, 1, 1, 1), (1.5, 0, 0, 2)]
    )
    assert design_matrix(features, 1).shape[1] == 3


def test_features_alone_find_the_cold_items_that_a_user_likes():
    rng = np.random.default_rng(0)
    category = rng.integers(3, 8, 300).astype(np.int32)
    centres = rng.normal(size=(8, 16))
    embeddings = (centres[category] + 0.1 * rng.normal(size=(300, 16))).astype(np.float32)
    truth = embeddings.copy()
    embeddings[:60] = rng.normal(size=(60, 16))  # what a tower makes of items that it has never seen
    popularity = np.where(np.arange(300) < 60, 0, 10)
    features = features_of(300, category, np.zeros(300, np.float32), np.zeros((300, 3), np.int32))
    known = as_of(300, popularity=popularity, features=features, embeddings=embeddings)
    (fitted,) = ContentFit(ContentConfig(), seed=1).candidates(known)
    assert fitted.files[ROWS_FILE].tolist() == list(range(60))
    assert fitted.files[VECTORS_FILE].shape == (60, 16)
    queries = centres[3:8].astype(np.float32)
    scores = fitted.scores(queries)
    assert np.isneginf(scores[:, 60:]).all()
    for row, code in zip(scores, range(3, 8), strict=True):
        mine = np.flatnonzero(category[:60] == code)
        assert set(np.argsort(-row)[: len(mine)].tolist()) == set(mine.tolist())
        assert not np.array_equal(np.argsort(-(truth[:60] @ queries[0])), np.argsort(-(embeddings[:60] @ queries[0])))


def test_content_says_why_it_cannot_be_fitted():
    none_cold = as_of(300, popularity=np.full(300, 9))
    assert ContentFit(ContentConfig(), 1).candidates(none_cold) == "every item has more than 5 events"
    all_cold = as_of(300, popularity=np.zeros(300))
    assert "only 0 items have events enough" in ContentFit(ContentConfig(), 1).candidates(all_cold)


def test_recall_counts_what_quotas_keep_and_what_the_merged_score_brings():
    merged = np.array([5.0, 4.0, 3.0, 2.0, -np.inf])
    assert recall_of(np.array([0, 3]), merged, [], 2) == 0.5
    assert recall_of(np.array([0, 3]), merged, [np.array([3])], 2) == 1.0
    assert recall_of(np.array([4]), merged, [], 5) == 0.0


class Tower:
    item_embeddings = np.eye(6, dtype=np.float32)


class Retriever:
    """Towers alone, of six items."""

    tower = Tower()

    def neighbour_scores(self, user_row):
        return np.zeros((len(user_row), 6), np.float32)

    def merged_scores(self, embedded, neighbour):
        return (embedded @ self.tower.item_embeddings.T + neighbour).astype(np.float32)


@pytest.fixture
def candidates() -> Candidates:
    """Forty users whose towers prefer items 0 to 2 and who like item 5, which they have not seen."""
    num = 40
    users = ValidationSet(np.arange(num), {}, [np.array([0, 5])] * num, [np.array([1])] * num)
    embedded = np.tile(np.array([6, 5, 4, 3, 2, 1], np.float32), (num, 1))
    return Candidates(users, Retriever(), embedded, 2)


def test_a_source_that_brings_what_is_missing_earns_a_place_and_another_does_not(candidates):
    helpful = FittedScores("helpful", np.array([0.5, 0, 0, 0, 0, 1], np.float32))
    useless = FittedScores("useless", np.array([0, 0, 1, 0, 0, 0], np.float32))
    before = candidates.recall([])
    assert before.tolist() == [0.5] * 40
    after = candidates.recall([(helpful, Place(quota=0.5))])
    assert after.tolist() == [1.0] * 40
    assert earns_a_place(Place(), before, after, 1).earned
    assert candidates.recall([(helpful, Place(weight=10.0))]).tolist() == [1.0] * 40
    assert not earns_a_place(Place(), before, candidates.recall([(useless, Place(quota=0.5))]), 1).earned
    assert candidates.alone(helpful).tolist() == [1.0] * 40
    assert candidates.spread() == 2.0


def test_a_column_without_numbers_is_refused():
    known = as_of(rows=[0], days=[1.0])
    fit = LatestFit(LatestConfig(column="released"))
    for column, sentence in ((("has no such column"), "has no such column"), ("holds string there", "holds string")):
        asked = type("Known", (), {"item_column": lambda self, name, column=column: column})()
        with pytest.raises(ConfigError, match=f"sources.latest.column = 'released': the items table {sentence}"):
            fit._dates(asked)
    assert known.now == 10**18 + DAY_NS
    assert sparse.issparse(design_matrix(known.features, 3))
