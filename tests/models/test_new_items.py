"""Without an items table, an item that valid has first is recommended after it; nothing fitted on train knows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dataset.features import load_events, load_features, load_state
from models.neighbours.config import NeighboursConfig
from models.neighbours.counts import seen_matrix
from models.neighbours.weights import fit_weights
from workflows.core.run import Run
from workflows.features.config import FeaturesConfig
from workflows.features.schema import ITEM_ID, OOV
from workflows.features.stage import prepare_features
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

OLD, NEW, LATEST = [10, 11, 12], 13, 14


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twelve users have items 10 to 12 in train, six of them item 13 in valid, one item 14 in test alone."""
    root = tmp_path_factory.mktemp("run")
    rows = [(user, item, at, "train") for user in range(12) for at, item in enumerate(OLD)]
    rows += [(user, NEW, 10, "valid") for user in range(6)]
    rows += [(user, 10, 11, "valid") for user in range(6, 12)]
    rows += [(0, LATEST, 20, "test"), (1, 11, 20, "test")]
    pd.DataFrame(rows, columns=["user_id", "item_id", "at", "split"]).to_parquet(root / "events.parquet")
    run = Run(root / "run")
    data = DataConfig(events=str(root / "events.parquet"), timestamp="at")
    prepare_data(run, data, SplitConfig(by="column"), ShopConfig(), 4)
    prepare_features(run, FeaturesConfig(history_length=4))
    return run


def test_it_is_in_the_catalogue_and_out_of_vocabulary(run):
    assert np.load(run.folder("data") / "ids" / "items.npy").tolist() == [*OLD, NEW]
    features = load_features(run)
    codes = features.items[ITEM_ID]
    assert codes[3] == OOV
    assert sorted(codes[:3]) == [3, 4, 5]
    assert next(iter(features.schema.side("item"))).cardinality == 6  # the vocabulary is of train alone
    assert load_events(run, "test").columns["item_row"].tolist() == [-1, 1]


def test_what_is_known_after_train_has_nothing_of_it(run):
    state = load_state(run, "train")
    assert state.popularity.tolist() == [12, 12, 12, 0]
    assert 3 not in state.seen_rows
    assert 3 not in state.history
    weights = fit_weights(state, NeighboursConfig(), [50.0], [0.3])
    assert weights.regressions[0][3].nnz == weights.walks[0][3].nnz == 0


def test_what_is_known_after_valid_recommends_it(run):
    state = load_state(run, "eval")
    assert state.popularity.tolist() == [18, 12, 12, 6]
    scores = (seen_matrix(state) @ fit_weights(state, NeighboursConfig(), [50.0], [0.3]).walks[0].T).toarray()
    assert (scores[6:, 3] > 0).all()  # for users who do not have it, by what they share with those who do
