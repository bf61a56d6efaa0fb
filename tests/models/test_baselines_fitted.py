"""The size of item-kNN is chosen on valid from a run's own files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.baselines.base import Baseline
from models.baselines.fitted import choose_neighbours, fitted_baselines, interaction_matrix
from models.data import State, load_state
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema

NUM_USERS, NUM_ITEMS = 40, 24


@pytest.fixture
def run(tmp_path):
    """Users of three groups; the validation positive of each is an item of its group that it has not had."""
    rng = np.random.default_rng(0)
    seen, valid = [], []
    for user in range(NUM_USERS):
        own = rng.permutation([item for item in range(NUM_ITEMS) if item % 3 == user % 3])
        seen.append(np.sort(own[:5]))
        valid.append((user, int(own[5])))
    valid.append((0, int(seen[0][0])))  # had before: must not count
    run = Run(tmp_path)
    for moment in ("train", "eval"):
        folder = run.folder("data") / "state" / moment
        folder.mkdir(parents=True)
        np.save(folder / "history.npy", np.full((NUM_USERS, 1), -1, np.int32))
        np.save(folder / "seen_indptr.npy", np.arange(NUM_USERS + 1) * 5)
        np.save(folder / "seen_rows.npy", np.concatenate(seen).astype(np.int32))
        np.save(folder / "popularity.npy", np.bincount(np.concatenate(seen), minlength=NUM_ITEMS).astype(np.float32))
    (run.folder("features") / "valid").mkdir(parents=True)
    FeatureSchema([], [], None, 1).save(run.folder("features") / "schema.json")
    write_valid(run, valid)
    for stage in ("data", "features"):
        write_manifest(run.folder(stage), Manifest(stage, "", "", {}, {}, [], {}))
    return run


def write_valid(run, pairs):
    columns = {
        name: pa.array([pair[i] for pair in pairs], pa.int32()) for i, name in enumerate(("user_row", "item_row"))
    }
    pq.write_table(pa.table(columns), run.folder("features") / "valid" / "part_000.parquet")


def test_the_size_that_finds_the_group_is_chosen_over_one_that_is_too_small(run):
    assert choose_neighbours(run, (1, 7), seed=1) == 7
    assert choose_neighbours(run, (7, 1), seed=1) == 7


def test_without_validation_positives_the_first_size_is_taken(run):
    state = load_state(run, "train")
    write_valid(run, [(0, int(state.seen(0)[0]))])
    assert choose_neighbours(run, (3, 7), seed=1) == 3


def test_both_baselines_are_fitted_on_what_was_known_before_the_test_split(run):
    models = fitted_baselines(run, (7,), seed=1)
    assert [model.name for model in models] == ["popularity", "item_knn"]
    assert all(isinstance(model, Baseline) for model in models)
    popularity = load_state(run, "eval").popularity
    np.testing.assert_array_equal(models[0].scores(np.array([2]))[0], popularity)
    scores = models[1].scores(np.arange(NUM_USERS))
    other_group = np.add.outer(-np.arange(NUM_USERS), np.arange(NUM_ITEMS)) % 3 != 0
    assert (scores[other_group] == 0).all()
    assert (scores[~other_group] > 0).mean() > 0.9


def test_the_matrix_has_a_one_for_every_seen_pair():
    state = State(np.zeros((2, 1), np.int32), np.array([0, 2, 2]), np.array([0, 2], np.int32), np.ones(3, np.float32))
    assert interaction_matrix(state).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
