"""The benchmark of off-policy estimates: it goes on where it was ended, and counts as it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ope import laboratory
from benchmarks.ope.cells import ESTIMATORS, Cell, Setting, measured
from models.ope.target import evidence_of

SETTING = Setting(1.0, 300, True)


@pytest.fixture(scope="module")
def opened():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(laboratory, "NUM_VISITS", 1_500)
        patch.setattr(laboratory, "PLAYS", 3_000)
        yield laboratory.open_laboratory(crowded=True)


def test_logs_are_kept_and_the_others_follow(opened, tmp_path):
    steps = []
    first = measured(tmp_path / "a", SETTING, lambda: opened, 2, lambda: steps.append(1))
    whole = measured(tmp_path / "a", SETTING, lambda: opened, 4, lambda: steps.append(1))
    once = measured(tmp_path / "b", SETTING, lambda: opened, 4, lambda: None)
    assert len(steps) == 4 and len(first.ess) == 2
    np.testing.assert_array_equal(whole.values, once.values)
    np.testing.assert_array_equal(whole.ess, once.ess)
    assert whole.truth == once.truth


def test_the_truth_is_what_logs_of_the_target_earn(opened):
    """Where the target is the logging ranker at its temperature, its value is the mean of the logs."""
    same = laboratory.Laboratory(opened.shop, opened.visits, opened.candidates, opened.target, opened.target)
    log, choices = same.log(20_000, 1.0, 3)
    assert log.rewards.sum(axis=1).mean() == pytest.approx(same.truth(1.0), abs=0.03)
    np.testing.assert_allclose(evidence_of(log, choices, ()).slates.weights(), 1.0)


def test_coverage_and_error_by_hand():
    values = np.full((4, len(ESTIMATORS)), 2.0)
    values[:, ESTIMATORS.index("snips")] = [1.0, 2.0, 3.0, 9.0]
    cell = Cell(SETTING, 2.0, values, values - 1, values + 1, np.ones(4), np.zeros(4, bool))
    every, three = np.ones(4, bool), np.arange(4) < 3
    assert cell.coverage("snips", every) == 0.75 and cell.coverage("snips", three) == 1.0
    assert cell.rmse("snips", three) == pytest.approx(np.sqrt(2 / 3)) and cell.rmse("sips", every) == 0.0
