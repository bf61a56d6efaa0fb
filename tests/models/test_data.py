"""The loader on a run whose every value is known."""

from __future__ import annotations

import numpy as np
import pytest

from models.dataset.events import Events
from models.dataset.features import Shard, load_events, load_features, load_state, positive_label
from tests.models.checkerboard import LENGTH, NUM_ITEMS, NUM_USERS, SCHEMA, checkerboard_run
from workflows.core.errors import ArtefactError, ConfigError
from workflows.core.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return checkerboard_run(tmp_path_factory.mktemp("checkerboard"))


def rows_of(batches):
    return np.concatenate([batch["at"] for batch in batches])


def test_unknown_users_get_the_documented_codes(run):
    features = load_features(run)
    history = np.zeros((2, LENGTH), np.int32)
    inputs = features.query_inputs(np.array([5, -1]), {"device": np.array([3, 1])}, history)
    assert inputs["user_id"].tolist() == [[8], [2]]
    assert inputs["age"][1].tolist() == [0.0]
    assert inputs["interests"][1].tolist() == [0, 0, 0]  # as a known user without interests
    assert inputs["interests"][0].tolist() == features.users["interests"][5].tolist()
    assert {n: (v.dtype, v.shape[1]) for n, v in inputs.items()} == {
        "user_id": (np.int32, 1),
        "age": (np.float32, 1),
        "interests": (np.int32, 3),
        "device": (np.int32, 1),
        "recent_item_ids": (np.int32, LENGTH),
    }
    assert features.users["user_id"].tolist() == list(range(3, NUM_USERS + 3))  # a gather leaves the table as it is


def test_item_inputs_and_history_codes(run):
    features = load_features(run)
    assert features.item_inputs(np.array([4, 0]))["item_id"].tolist() == [[7], [3]]
    assert features.history_codes(np.array([[2, 0, -1]])).tolist() == [[5, 3, 0]]


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_a_shuffled_pass_gives_every_positive_once(run, budget):
    parts = sorted((run.folder("features") / "train").glob("*.parquet"))
    positives = Events(parts, positives_of="click", memory_budget_bytes=budget)
    assert positives.fits_memory == (budget > 1)
    batches = list(positives.batches(50, seed=1))
    assert len(positives) == 8 * NUM_USERS
    assert [len(batch["at"]) for batch in batches] == [50] * 6 + [20]
    assert sorted(rows_of(batches)) == list(range(8 * NUM_USERS))
    assert rows_of(batches).tolist() != sorted(rows_of(batches))
    assert rows_of(positives.batches(50, seed=1)).tolist() == rows_of(batches).tolist()
    assert rows_of(positives.batches(50, seed=2)).tolist() != rows_of(batches).tolist()


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_shards_are_disjoint_and_equally_long(run, budget):
    parts = sorted((run.folder("features") / "train").glob("*.parquet"))
    shares = [
        rows_of(Events(parts, memory_budget_bytes=budget).batches(7, seed=1, shard=Shard(r, 3))) for r in range(3)
    ]
    assert len({len(share) for share in shares}) == 1
    together = np.concatenate(shares)
    assert len(np.unique(together)) == len(together) > 16 * NUM_USERS - 3 * 3


def test_the_state_masks_exactly_the_seen_pairs(run):
    state = load_state(run, "train")
    positions, rows = state.seen_pairs(np.array([3, -1, 0]))
    expected = [(0, int(i)) for i in state.seen(3)] + [(2, int(i)) for i in state.seen(0)]
    assert list(zip(positions.tolist(), rows.tolist(), strict=True)) == expected
    assert all(row % 2 == 1 for row in state.seen(3))
    assert state.popularity.shape == (NUM_ITEMS,)


def test_a_label_that_is_not_there_is_refused():
    assert positive_label(SCHEMA, "") == "click"
    with pytest.raises(ConfigError, match=r"'buy'.*click"):
        positive_label(SCHEMA, "buy")


def test_unfinished_stages_are_named(tmp_path):
    with pytest.raises(ArtefactError, match="features"):
        load_features(Run(tmp_path))
    with pytest.raises(ArtefactError, match="at least one Parquet part"):
        len(load_events(checkerboard_run(tmp_path / "run"), "nothing"))
