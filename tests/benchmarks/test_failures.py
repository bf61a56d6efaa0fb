"""Failures of a real server: what is wrong or lost is counted, and what need not be in the log is told from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.failures.load import Load, Question
from benchmarks.failures.measure import SERVED, Missing, Outcome, missing, outcomes, theatre_of
from benchmarks.failures.offline import OFFLINE
from benchmarks.failures.result import result_of
from benchmarks.failures.stage import Theatre
from cascade_client import Slate
from tests.benchmarks.made_shop import exported_shop

CONFIG = Path(__file__).parents[2] / "configs/shop.toml"
WELL = Outcome("nothing", 9, {}, 0, 5, 0, Missing(), 0, 0.1, True, "nothing is broken")


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    run, config = exported_shop(tmp_path_factory.mktemp("failures") / "run", takes_events=True)
    return theatre_of(run, config, CONFIG)


def test_everything_that_may_break_is_there() -> None:
    names = [*SERVED, *OFFLINE]
    assert len(names) == len(set(names)) == 18
    assert sum(name.startswith("kill -9") for name in names) == 5


def test_a_wrong_slate_a_lost_event_and_a_missing_answer_miss_their_targets() -> None:
    assert all(target.met for target in result_of([WELL]).targets)
    taken = Missing(at_ends=3, reach_ms=41.4)
    killed = WELL._replace(missing=taken, pause_s=4.04, errors={"CannotReach": 7, "Timeout": 1})
    assert all(target.met for target in result_of([WELL, killed]).targets)
    assert result_of([killed]).figures[0].rows[0][2:] == ["7 CannotReach, 1 Timeout", 0, 5, 0, 3, 41, 0, 0, 4.0]
    gone = [WELL._replace(missing=Missing(unexplained=1)), WELL._replace(missing=Missing(at_ends=1, reach_ms=70.0))]
    bad = [WELL._replace(wrong=1), WELL._replace(lost=2), *gone, WELL._replace(twice=4)]
    result = result_of([*bad, WELL._replace(is_well=False, said="a word " * 40)])
    assert [target.value for target in result.targets] == [1, 2, 1, 70.0, 4, 1]
    assert not any(target.met for target in result.targets)
    assert max(len(str(cell)) for table in result.figures for row in table.rows for cell in row) <= 120
    msgspec.json.encode(result)


def test_why_answers_are_not_in_the_log(tmp_path: Path) -> None:
    load = Load("localhost:1", [], [], [])
    load.answered = {"before": 19.97, "on the way": 20.2, "between": 25.0, "after": 41.0}
    (tmp_path / "status.json").write_text(json.dumps({"counts": {"dropped_disk": 0, "rows": 9}}))
    assert missing(load, set(), [20.0], tmp_path) == Missing()
    found = missing(load, {"before", "on the way", "after"}, [40.0, 20.0], tmp_path)
    assert found == Missing(at_ends=2, reach_ms=pytest.approx(30.0), left_out=0, unexplained=1)
    assert missing(load, {"between"}, [20.0, 40.0], tmp_path).reach_ms == pytest.approx(15_000)
    (tmp_path / "status.json").write_text(json.dumps({"counts": {"dropped_disk": 1, "dropped_queue": 3}}))
    assert missing(load, {"before", "after"}, [20.0], tmp_path) == Missing(1, pytest.approx(30.0), 1, 0)


def test_a_slate_is_right_where_items_scores_and_path_are() -> None:
    question = Question("somebody", {}, [7, 3], np.array([0.5, 0.25], np.float32), "known_user", {})
    right = Slate("somebody", [7, 3], [0.5, 0.25], "known_user")
    assert question.is_answered_by(right)
    assert not question.is_answered_by(replace(right, item_ids=[3, 7]))
    assert not question.is_answered_by(replace(right, item_ids=[7], scores=[0.5]))
    assert not question.is_answered_by(replace(right, scores=[0.5, 0.26]))
    assert not question.is_answered_by(replace(right, path="popularity"))


@pytest.mark.long
@pytest.mark.slow
def test_a_clock_that_jumps_and_parquet_that_is_corrupt(theatre: Theatre) -> None:
    assert not {question.user for question in theatre.questions} & {*theatre.senders}
    assert {question.path for question in theatre.strangers} <= {"history", "context", "popularity"}
    jumped, corrupt = (next(outcomes(theatre, only)) for only in ("the clock", "corrupt"))
    assert (jumped.wrong, jumped.missing, jumped.twice, jumped.is_well) == (0, Missing(), 0, True)
    assert jumped.said.endswith(" counted, 0 rows with a wrong time")
    assert (corrupt.wrong, corrupt.missing, corrupt.is_well) == (0, Missing(), True)
    assert "verify, monitor, replay, events" in corrupt.said


@pytest.mark.triton
@pytest.mark.slow
def test_killed_processes_cost_answers_and_nothing_else(theatre: Theatre) -> None:
    (killed,) = outcomes(theatre, "models' processes")
    assert (killed.wrong, killed.lost, killed.missing.unexplained, killed.twice) == (0, 0, 0, 0)
    assert killed.is_well and killed.answered and killed.acknowledged
    assert killed.said.endswith("processes replaced")


@pytest.mark.triton
@pytest.mark.slow
def test_slates_of_other_files_are_counted_as_wrong(theatre: Theatre) -> None:
    # Asked by the second client before all others, however slow the machine is.
    first, second, *others = theatre.questions
    wrong = second._replace(items=second.items[::-1])
    (found,) = outcomes(replace(theatre, questions=[first, wrong, *others]), "nothing")
    assert 0 < found.wrong < found.answered
