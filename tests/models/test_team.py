"""Two real processes on one machine: together they train what one process trains on batches of twice the size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.neighbours.config import NeighboursConfig
from models.neighbours.stage import fit_neighbours
from models.ranking.config import RankingConfig
from models.ranking.stage import train_ranking
from models.retrieval.config import EventsConfig, RetrievalConfig, WindowsConfig
from models.retrieval.stage import train_retrieval
from models.training.team import Team
from tests.models.checkerboard import checkerboard_run, ring_run
from tests.ports import free_ports
from workflows.core.artefacts import verify
from workflows.core.run import Run

ROOT = Path(__file__).parents[2]
# What dropout and normal embeddings draw differs between processes; without, the two trainings are the same sum in
# another order; and small steps, for Adam makes a step of a gradient however small.
RETRIEVAL = RetrievalConfig(
    embedding_dim=8,
    hidden=(16,),
    validation_cutoff=4,
    events=EventsConfig(
        batch_size=80, max_epochs=3, patience=9, learning_rate=0.01, id_dropout=0.0, history_dropout=0.0
    ),
)
RANKING = RankingConfig(
    embedding_dim=8,
    bottom=(8,),
    top=(16,),
    training_examples="sampled",
    negatives_per_positive=4,
    candidate_pool=12,
    batch_size=80,
    max_epochs=3,
    patience=9,
    id_dropout=0.0,
    dropout=0.0,
    embedding_spread=0.0,
    learning_rate=0.001,
)


def _with_half_batches(config: RetrievalConfig | RankingConfig) -> RetrievalConfig | RankingConfig:
    """Two processes share the rows of a step."""
    if isinstance(config, RankingConfig):
        return msgspec.structs.replace(config, batch_size=config.batch_size // 2)
    halved = {
        examples: msgspec.structs.replace(section, batch_size=section.batch_size // 2)
        for examples in ("events", "windows", "sets")
        if isinstance((section := getattr(config, examples)).batch_size, int)
    }
    return msgspec.structs.replace(config, **halved)


def start_two(run: Run, stage: str, config: RetrievalConfig | RankingConfig, dies_after: str = ""):
    """(Exit status, standard error) of both; the second one dies after that many epochs."""
    half = msgspec.json.encode(_with_half_batches(config)).decode()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    started = []
    for rank in range(2):
        command = [sys.executable, "-m", "tests.models.one_of_several", str(run.root), stage, half]
        environment = {**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster}), "RANK": str(rank)}
        environment |= {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
        started.append(
            subprocess.Popen(
                [*command, dies_after] if dies_after and rank else command,
                cwd=ROOT,
                env=environment,
                text=True,
                stderr=subprocess.PIPE,
            )
        )
    try:
        return [(process.wait(600), process.communicate()[1]) for process in started]
    finally:
        for process in started:
            process.kill()


def history(run: Run, stage: str) -> list[dict]:
    return json.loads((run.folder(stage) / "history.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run = checkerboard_run(tmp_path_factory.mktemp("alone"))
    train_retrieval(run, RETRIEVAL)
    return run


def copy_of(run: Run, root: Path, without: str) -> Run:
    shutil.copytree(run.root, root, ignore=shutil.ignore_patterns(without))
    return Run(root)


@pytest.mark.long
def test_two_processes_resume_after_one_was_killed_and_end_with_the_towers_of_one(alone, tmp_path):
    run = copy_of(alone, tmp_path / "two", "retrieval")
    (first, said), (second, _) = start_two(run, "retrieval", RETRIEVAL, dies_after="2")
    assert (first, second) == (1, 9)
    assert said.splitlines()[-1].startswith("error: retrieval: process 1 of 2 lost another one")
    assert "Traceback" not in said
    assert not run.folder("retrieval").exists()

    (first, said), (second, silence) = start_two(run, "retrieval", RETRIEVAL)
    assert (first, second, silence) == (0, 0, "")
    assert "retrieval: resuming after epoch 2" in said
    assert not run.scratch("retrieval").exists()
    verify(run.folder("retrieval"))
    embeddings = [np.load(r.folder("retrieval") / "item_embeddings.npy") for r in (alone, run)]
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-5)
    for one, two in zip(history(alone, "retrieval"), history(run, "retrieval"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["recall_at_4"] == one["recall_at_4"]


@pytest.mark.long
def test_two_processes_learn_from_windows_of_ordered_histories(tmp_path):
    run = ring_run(tmp_path)
    windows = WindowsConfig(learning_rate=0.02, max_epochs=4, id_dropout=0.0, history_dropout=0.0)
    config = msgspec.structs.replace(
        RETRIEVAL, examples="windows", windows=windows, embedding_dim=16, validation_cutoff=1
    )
    (first, said), (second, silence) = start_two(run, "retrieval", config)
    assert (first, second, silence) == (0, 0, ""), said
    # Of each walk's next two items, the one place can hold one.
    assert max(record["recall_at_1"] for record in history(run, "retrieval")) > 0.45


@pytest.mark.long
def test_two_processes_train_the_ranker_of_one(alone, tmp_path):
    fit_neighbours(alone, NeighboursConfig())
    train_ranking(alone, RANKING)
    run = copy_of(alone, tmp_path / "two", "ranking")
    (first, said), (second, silence) = start_two(run, "ranking", RANKING)
    assert (first, second, silence) == (0, 0, ""), said
    verify(run.folder("ranking"))
    for one, two in zip(history(alone, "ranking"), history(run, "ranking"), strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    for path in sorted(alone.folder("ranking").glob("*.npy")):
        np.testing.assert_allclose(np.load(run.folder("ranking") / path.name), np.load(path), atol=1e-5)


@pytest.mark.long
def test_two_processes_that_draw_resume_to_the_ranker_of_an_unbroken_training(alone, tmp_path):
    """What each has seen of the ids differs between processes: the checkpoint has it of both."""
    fit_neighbours(alone, NeighboursConfig())
    config = msgspec.structs.replace(
        RANKING, training_examples="impressions", id_dropout=0.2, dropout=0.1, embedding_spread=0.5, lazy_adam_from=1
    )
    whole, killed = (copy_of(alone, tmp_path / name, "ranking") for name in ("whole", "killed"))
    (first, said), (second, _) = start_two(whole, "ranking", config)
    assert (first, second) == (0, 0), said
    (first, said), (second, _) = start_two(killed, "ranking", config, dies_after="2")
    assert (first, second) == (1, 9), said
    (first, said), (second, _) = start_two(killed, "ranking", config)
    assert (first, second) == (0, 0), said
    assert "ranking: resumes after epoch 1" in said
    assert history(whole, "ranking") == history(killed, "ranking")
    for path in sorted(whole.folder("ranking").glob("*.np[yz]")):
        assert path.read_bytes() == (killed.folder("ranking") / path.name).read_bytes(), path.name


def test_one_process_goes_on_with_what_two_have_seen():
    own, both = np.array([1.0, 2.0]), np.array([[1.0, 2.0], [30.0, 40.0]])
    np.testing.assert_array_equal(Team().unstack(Team().stack(own)), own)
    np.testing.assert_array_equal(Team().unstack(both), [31.0, 42.0])
