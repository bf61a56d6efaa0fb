"""A training that has left the finite numbers ends in one sentence, at once."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from models.ranking.config import RankingConfig
from models.ranking.stage import train_ranking
from models.retrieval.config import EventsConfig, RetrievalConfig
from models.retrieval.stage import train_retrieval
from models.training.finite import check_loss, check_weights
from tests.models.checkerboard import checkerboard_run
from workflows.core.errors import TrainingError

EVENTS = EventsConfig(batch_size=64, max_epochs=2)
TOWERS = RetrievalConfig(embedding_dim=8, hidden=(16,), examples="events", refit_share=0.0, events=EVENTS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_said_with_stage_step_and_epoch(value):
    sentence = rf"^ranking: the loss is {value} at step 1,200 of epoch 3, so training stops; lower x, and look for"
    with pytest.raises(TrainingError, match=sentence):
        check_loss("ranking", 2, 1200, value, "lower x")
    check_loss("ranking", 2, 1200, 3.4e38, "lower x")


def test_weights_that_are_no_numbers_are_refused():
    check_weights("retrieval", [np.zeros((2, 2)), np.arange(3)], "lower x")
    with pytest.raises(TrainingError, match="retrieval: the trained weights are no finite numbers; lower x"):
        check_weights("retrieval", [np.zeros(2), np.array([1.0, np.inf])], "lower x")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return checkerboard_run(tmp_path_factory.mktemp("finite"))


@pytest.mark.slow
def test_towers_stop_in_the_first_epoch_whose_loss_is_no_number(run, capsys):
    config = msgspec.structs.replace(TOWERS, events=EventsConfig(batch_size=64, learning_rate=1e38, max_epochs=9))
    said = r"retrieval: the loss is nan .* lower retrieval\.events\.learning_rate \(now 1e"
    with pytest.raises(TrainingError, match=said):
        train_retrieval(run, config)
    assert "retrieval: epoch" not in capsys.readouterr().err
    assert not run.folder("retrieval").exists()


@pytest.mark.slow
def test_the_ranker_stops_there_too(run):
    from models.neighbours.config import NeighboursConfig
    from models.neighbours.stage import fit_neighbours

    train_retrieval(run, TOWERS)
    fit_neighbours(run, NeighboursConfig(l2=(50.0,), walk_powers=(0.3,), tower_shares=(0.5,)))
    config = RankingConfig(embedding_dim=4, bottom=(4,), top=(8,), max_epochs=9, learning_rate=1e38)
    with pytest.raises(
        TrainingError, match=r"ranking: the (valid )?loss is nan .* lower ranking.learning_rate \(now 1e"
    ):
        train_ranking(run, config)
    assert not run.folder("ranking").exists()
