"""Probabilities that are too high or too low beyond chance: measured over users, said on page, tables and console."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ensemble.evaluation.markdown import ranker_text
from ensemble.evaluation.ranker import calibration_quality, classification_quality
from ensemble.evaluation.stage import evaluate
from models.metrics.bootstrap import Resamples
from models.metrics.calibration import FEWEST_USERS, calibration_gap
from tests.ensemble.test_evaluation import make_evaluated_run

PLAN = Resamples(400, 3)


def test_the_gap_of_equal_users_is_exact_and_has_no_spread():
    users = np.repeat(np.arange(20), 4)
    gap = calibration_gap(np.tile([0, 0, 1, 1], 20), np.full(80, 0.6), users, PLAN)
    assert [gap.value, gap.low, gap.high] == pytest.approx([0.1, 0.1, 0.1])


def test_users_are_resampled_with_all_of_their_rows():
    """Worked out from the plan's own weights: the sum of gaps over the sum of rows, under how often a user is drawn."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    labels, probabilities = rng.integers(0, 2, len(users)), rng.random(len(users))
    gap = calibration_gap(labels, probabilities, users * 7 + 2, PLAN)
    weights = np.concatenate(list(PLAN.weights(30)))[:, users]
    drawn = (weights * (probabilities - labels)).sum(axis=1) / weights.sum(axis=1)
    assert gap.value == pytest.approx(probabilities.mean() - labels.mean())
    assert [gap.low, gap.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist())


def test_few_users_say_nothing_about_chance():
    users = np.arange(FEWEST_USERS - 1)
    gap = calibration_gap(np.zeros(len(users)), np.full(len(users), 0.9), users, PLAN)
    assert (gap.value, gap.low, gap.high) == (pytest.approx(0.9), None, None)
    assert calibration_quality(gap, {"mean_probability": 0.9, "positive_share": 0.0})["warning"] is None


@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.2])
def test_a_shift_is_warned_of_and_chance_is_not(shift):
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.3, 0.7, 6000)
    labels, users = (rng.random(6000) < truth).astype(float), np.arange(6000) // 12
    quality = classification_quality(labels, truth + shift)
    warning = calibration_quality(calibration_gap(labels, truth + shift, users, PLAN), quality)["warning"]
    if not shift:
        assert warning is None
    else:
        assert f"too {'high' if shift > 0 else 'low'} on the test split" in warning
        assert f"{quality['mean_probability']:.4f} on the mean, {quality['positive_share']:.4f} observed" in warning


def test_the_warning_is_on_the_page_the_console_and_in_the_tables(tmp_path, monkeypatch, capsys):
    labels, probabilities, users = np.tile([0, 1, 0, 1], 30), np.full(120, 0.8), np.arange(120) // 4
    quality = {"label": "click", "rows": "rows", **classification_quality(labels, probabilities)}
    quality |= calibration_quality(calibration_gap(labels, probabilities, users, PLAN), quality)
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: quality)
    run, config = make_evaluated_run(tmp_path / "r")
    evaluate(run, config)
    found = json.loads((run.folder("report") / "metrics.json").read_text())["ranker"]
    assert found["calibration_gap"] == pytest.approx({"value": 0.3, "low": 0.3, "high": 0.3})
    sentence = (
        "probabilities are too high on the test split: 0.8000 on the mean, 0.5000 observed, a difference of +0.30"
    )
    page = (run.folder("report") / "index.html").read_text()
    for text in (found["warning"], page, ranker_text(found), capsys.readouterr().err):
        assert sentence in text
    assert "0.8000 predicted on the mean, 0.5000 observed" in page
