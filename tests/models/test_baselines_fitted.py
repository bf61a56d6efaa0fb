"""The baselines are tuned on valid and fitted on both splits, from a run's own files."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.baselines.config import BaselinesConfig
from models.baselines.fitted import fitted_baselines, interaction_matrix
from models.dataset.features import State, load_state
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
    for snapshot in ("train", "eval"):
        folder = run.folder("data") / "state" / snapshot
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


def fit_all(run, neighbours, **settings):
    found = list(fitted_baselines(run, BaselinesConfig(**settings), neighbours, seed=1))
    return {name: model for name, model, _ in found}, {name: record for name, _, record in found}


@pytest.mark.parametrize("neighbours", [(1, 7), (7, 1)])
def test_the_size_that_finds_the_group_is_chosen_over_one_that_is_too_small(run, neighbours):
    models, records = fit_all(run, neighbours)
    assert list(models) == ["popularity", "item_knn"]
    assert records["item_knn"].picked["num_neighbours"] == models["item_knn"].num_neighbours == 7
    assert [trial.params["num_neighbours"] for trial in records["item_knn"].trials] == [*neighbours]


def test_without_validation_positives_the_first_point_is_taken(run):
    write_valid(run, [(0, int(load_state(run, "train").seen(0)[0]))])
    _, records = fit_all(run, (3, 7))
    assert records["item_knn"].picked == {"num_neighbours": 3, "shrinkage": 0.0}
    assert records["item_knn"].trials == []


def test_the_baselines_are_fitted_on_what_was_known_before_the_test_split(run):
    state = run.folder("data") / "state" / "eval"
    popularity = np.load(state / "popularity.npy")
    popularity[3] += 5
    np.save(state / "popularity.npy", popularity)
    models, _ = fit_all(run, (7,))
    np.testing.assert_array_equal(models["popularity"].scores(np.array([2]))[0], popularity)
    scores = models["item_knn"].scores(np.arange(NUM_USERS))
    other_group = np.add.outer(-np.arange(NUM_USERS), np.arange(NUM_ITEMS)) % 3 != 0
    assert (scores[other_group] == 0).all()
    assert (scores[~other_group] > 0).mean() > 0.9


def test_every_baseline_is_tuned_and_finds_the_groups(run):
    pytest.importorskip("implicit", reason="the extra 'baselines' is not installed")
    models, records = fit_all(run, (7,), use=True, budget_s=1e-9)
    assert list(models) == ["popularity", "item_knn", "bm25_knn", "rp3beta", "als", "bpr", "ease"]
    seen = interaction_matrix(load_state(run, "eval"))
    for name in list(models)[1:]:
        assert [len(records[name].trials), records[name].ended] == [1, False], name
        slates, _ = models[name].recommend(np.arange(NUM_USERS), 3, eligible=np.ones(NUM_ITEMS, bool), seen=seen)
        assert (slates >= 0).all(), name
        if name not in ("als", "bpr"):  # 64 factors learn 40 users by heart; their own tests give them 8
            assert (slates % 3 == np.arange(NUM_USERS)[:, None] % 3).all(), name


def test_a_baseline_that_cannot_be_measured_says_why_and_the_others_go_on(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "implicit", None)
    names = ("als", "rp3beta", "ease")
    models, records = fit_all(run, (7,), use=True, names=names, budget_s=1e-9, ease_up_to_items=23)
    assert [name for name, model in models.items() if model is not None] == ["popularity", "item_knn", "rp3beta"]
    assert "als needs the package implicit" in records["als"].skipped
    assert "up to 23 items, this one has 24" in records["ease"].skipped
    assert "als needs the package implicit" in capsys.readouterr().err


def test_the_matrix_has_a_one_for_every_seen_pair():
    state = State(np.zeros((2, 1), np.int32), np.array([0, 2, 2]), np.array([0, 2], np.int32), np.ones(3, np.float32))
    assert interaction_matrix(state).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
