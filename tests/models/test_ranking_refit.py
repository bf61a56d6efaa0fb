"""The ranker that is served has also learnt from what told its best epoch."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from models.neighbours.config import NeighboursConfig
from models.neighbours.stage import fit_neighbours
from models.ranking.config import RankingConfig
from models.ranking.stage import train_ranking
from models.retrieval.config import EventsConfig, RetrievalConfig
from models.retrieval.retriever import Retriever
from models.retrieval.stage import train_retrieval
from tests.models.checkerboard import checkerboard_run
from workflows.core.errors import ArtefactError

CONFIG = RankingConfig(
    embedding_dim=8,
    bottom=(8,),
    top=(16,),
    batch_size=40,
    max_epochs=4,
    candidate_pool=12,
    negatives_per_positive=4,
    refit_share=0.9,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    # TensorFlow takes some characters of a path for wildcards.
    run = checkerboard_run(tmp_path_factory.mktemp("refit") / "r [1] *?'é#%41")
    events = EventsConfig(max_epochs=2)
    train_retrieval(run, RetrievalConfig(embedding_dim=8, hidden=(16,), validation_cutoff=4, events=events))
    fit_neighbours(run, NeighboursConfig())
    return run


def records(run, name):
    return json.loads((run.folder("ranking") / name).read_text())


def item_fields(run):
    return np.load(run.folder("ranking") / "item_fields.npy")


@pytest.mark.long
@pytest.mark.parametrize("training_examples", ["sampled", "impressions"])
def test_a_refit_goes_over_more_rows_from_the_best_epoch_on(run, training_examples, monkeypatch):
    import models.ranking.task as module

    sources = []
    true_sources = module.training_sources
    monkeypatch.setattr(module, "training_sources", lambda *given: sources.append(true_sources(*given)) or sources[-1])
    config = msgspec.structs.replace(CONFIG, training_examples=training_examples)
    plain = train_ranking(run, msgspec.structs.replace(config, refit_share=0.0), force=True).info
    fields = item_fields(run)
    assert plain["refit_epochs"] == 0 and records(run, "refit.json") == []
    again = train_ranking(run, config, force=True).info
    best = 1 + [record["best"] for record in records(run, "history.json")].index(True)
    assert again["refit_epochs"] == len(records(run, "refit.json")) == int(np.ceil(0.9 * best))
    # What is told of the best epoch stays what it was; what is served has moved.
    assert again["calibration"] == pytest.approx(plain["calibration"], rel=1e-4)
    assert np.abs(item_fields(run) - fields).max() > 1e-3
    train, valid, both = sources[-1]
    assert both.num_rows == train.num_rows + valid.num_rows


@pytest.mark.long
@pytest.mark.parametrize("training_examples", ["sampled", "impressions"])
def test_a_training_killed_in_both_of_its_phases_ends_as_an_unbroken_one(run, training_examples, monkeypatch):
    """To the last bit, whatever is drawn; with tables whose prior counts what was seen so far."""
    import models.ranking.fit as fit

    config = msgspec.structs.replace(CONFIG, training_examples=training_examples, id_dropout=0.2, lazy_adam_from=1)
    whole = train_ranking(run, config, force=True)
    num_epochs, num_refit = whole.info["epochs"], whole.info["refit_epochs"]
    assert num_epochs > 2 and num_refit > 1
    told = [records(run, name) for name in ("history.json", "refit.json")]
    fields = item_fields(run)
    true_save, saved = fit.Checkpoint.save, []

    def killed_at(count):
        def save(checkpoint, *state):
            saved.append(len(state[0].history))
            if len(saved) == count:
                raise KeyboardInterrupt
            true_save(checkpoint, *state)

        monkeypatch.setattr(fit.Checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            train_ranking(run, config, force=True)
        np.testing.assert_array_equal(item_fields(run), fields)  # the earlier result is untouched

    killed_at(2)
    killed_at(1 + num_epochs + 2)
    monkeypatch.setattr(fit.Checkpoint, "save", lambda *given: (saved.append(len(given[1].history)), true_save(*given)))
    resumed = train_ranking(run, config, force=True)
    # The second epoch of each was lost with its checkpoint, and nothing else.
    assert saved == [1, 2, *range(2, num_epochs + 1), 1, 2, *range(2, num_refit + 1)]
    assert [records(run, name) for name in ("history.json", "refit.json")] == told
    np.testing.assert_array_equal(item_fields(run), fields)
    arrays = [{f.path: f.sha256 for f in made.files if f.path.endswith((".npy", ".npz"))} for made in (whole, resumed)]
    assert arrays[0] == arrays[1] and len(arrays[0]) >= 3
    assert whole.info["calibration"] == resumed.info["calibration"]


def test_towers_without_a_train_snapshot_are_named(run):
    kept = run.folder("retrieval") / "kept"
    (run.folder("retrieval") / "train").rename(kept)
    try:
        with pytest.raises(ArtefactError, match="no towers of the snapshot 'train'; run cascade train-retrieval again"):
            Retriever.of(run, "train")
    finally:
        kept.rename(run.folder("retrieval") / "train")
