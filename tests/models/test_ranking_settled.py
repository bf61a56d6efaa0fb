"""The size of the ranker's batches follows the table where the config leaves it open."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from models.dataset.features import Shard
from models.neighbours.config import NeighboursConfig
from models.neighbours.stage import fit_neighbours
from models.ranking.config import RankingConfig
from models.ranking.settled import LARGEST_BATCH, SMALLEST_BATCH, STEPS_PER_EPOCH, settled
from models.ranking.stage import train_ranking
from models.ranking.task import load_task
from models.retrieval.config import EventsConfig, RetrievalConfig
from models.retrieval.stage import train_retrieval
from tests.models.checkerboard import checkerboard_run

DECIDED = RankingConfig(use_user_id=False)
AS_LARGE = LARGEST_BATCH * STEPS_PER_EPOCH
SMALL = RankingConfig(embedding_dim=4, bottom=(4,), top=(8,), max_epochs=2, training_examples="impressions")
NUM_ROWS = 640  # of the checkerboard's train split


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = checkerboard_run(tmp_path_factory.mktemp("settled"))
    train_retrieval(run, RetrievalConfig(embedding_dim=8, hidden=(8,), events=EventsConfig(max_epochs=1)))
    fit_neighbours(run, NeighboursConfig())
    return run


@pytest.mark.parametrize("num_rows", [AS_LARGE, AS_LARGE + 1, 10 * AS_LARGE])
def test_a_large_table_is_trained_as_with_batches_of_4096(num_rows):
    assert settled(DECIDED, num_rows) == settled(msgspec.structs.replace(DECIDED, batch_size=4096), num_rows)


@pytest.mark.parametrize(
    ("num_rows", "size"),
    [(0, 64), (3_000, 64), (4_095, 64), (4_096, 128), (12_000, 256), (40_000, 1024), (AS_LARGE - 1, 2048)],
)
def test_an_epoch_of_a_small_table_has_its_steps_or_batches_as_small_as_they_get(num_rows, size):
    assert settled(DECIDED, num_rows).batch_size == size
    assert size == SMALLEST_BATCH or STEPS_PER_EPOCH <= num_rows / size < 2 * STEPS_PER_EPOCH


def test_a_given_size_stays_as_it_is_and_so_does_every_other_key():
    given = RankingConfig(batch_size=7, use_user_id=True, embedding_dim=5, top=(3,), seed=9, dropout=0.5)
    found = settled(given, 3_000)
    assert {name: getattr(found, name) for name in RankingConfig.__struct_fields__} == msgspec.structs.asdict(given)


@pytest.mark.slow
def test_several_processes_have_the_steps_of_their_shares(run):
    config = msgspec.structs.replace(SMALL, training_examples="sampled", negatives_per_positive=400)
    for size in (1, 2):
        task = load_task(run, config, size)
        shares = {task.train.share(Shard(rank, size)).num_rows for rank in range(size)}
        assert {settled(DECIDED, rows).batch_size for rows in shares} == {task.config.batch_size}


@pytest.mark.slow
def test_a_small_table_trains_with_small_batches_and_the_stage_says_which(run, capsys):
    """To the last bit what the same size gives that is asked for; another size is another stage."""
    made = train_ranking(run, SMALL)
    assert made.info["batch_size"] == SMALLEST_BATCH and made.config["ranking"]["batch_size"] == "auto"
    assert f"ranking: {NUM_ROWS} rows an epoch, {SMALLEST_BATCH} a step" in capsys.readouterr().err
    told = json.loads((run.folder("ranking") / "history.json").read_text())
    fields = np.load(run.folder("ranking") / "item_fields.npy")
    train_ranking(run, SMALL)
    assert capsys.readouterr().err == "ranking: up to date\n"

    same = train_ranking(run, msgspec.structs.replace(SMALL, batch_size=SMALLEST_BATCH))
    assert same.fingerprint != made.fingerprint
    assert json.loads((run.folder("ranking") / "history.json").read_text()) == told
    np.testing.assert_array_equal(np.load(run.folder("ranking") / "item_fields.npy"), fields)

    whole = train_ranking(run, msgspec.structs.replace(SMALL, batch_size=4096))
    assert whole.info["batch_size"] == 4096 and "640 rows an epoch, 4,096 a step" in capsys.readouterr().err
    assert np.abs(np.load(run.folder("ranking") / "item_fields.npy") - fields).max() > 1e-4
