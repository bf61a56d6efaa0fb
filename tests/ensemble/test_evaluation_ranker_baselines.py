"""The ranker beside other classifiers: measured on the same rows, shown on the page and in the tables."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.config import Config
from ensemble.evaluation.config import EvaluateConfig
from ensemble.evaluation.markdown import classifier_table
from ensemble.evaluation.ranker_rows import measure_classifiers
from models.baselines.config import BaselinesConfig
from models.classifiers.examples import UP_TO_EVENT
from models.dataset.features import load_events
from models.metrics.classification import auc
from tests.models.checkerboard import checkerboard_run

GAPS = ("auc", "logloss")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    pytest.importorskip("sklearn", reason="the extra 'baselines' is missing")
    pytest.importorskip("lightgbm", reason="the extra 'baselines' is missing")
    run = checkerboard_run(tmp_path_factory.mktemp("run"))
    settings = EvaluateConfig(num_bootstrap=40, baselines=BaselinesConfig(use=True, budget_s=1e-9))
    labels = load_events(run, "test").columns["click"]
    perfect = np.where(labels > 0.5, 0.99, 0.01)
    ours = {UP_TO_EVENT: perfect}
    return labels, perfect, measure_classifiers(run, Config(evaluate=settings), "click", labels, ours)


def test_every_classifier_has_its_figures_and_the_difference_to_the_ranker(found):
    labels, perfect, record = found
    assert list(record["baselines"]) == list(record["minus"]) == ["logistic", "lightgbm"]
    for name, baseline in record["baselines"].items():
        gap = record["minus"][name]["auc"]
        assert gap["value"] == pytest.approx(auc(labels, perfect) - baseline["auc"])
        assert gap["low"] <= gap["value"] <= gap["high"]
        assert baseline["num_rows"] == len(labels)
        assert [trial["params"] for trial in baseline["trials"]] == [baseline["picked"]]


def test_a_smaller_log_loss_is_a_win(found):
    _, _, record = found
    # What resembles the history has an item's parity, so the order is right; no model is as sure as the perfect ranker.
    row = next(line for line in classifier_table(record).splitlines() if line.startswith("| Logistic"))
    assert [cell.split()[-1] for cell in row.split("|")[5:7]] == ["tie", "win"]
    worse = {"value": 0.1, "low": 0.05, "high": 0.15}
    record = {
        "baselines": {"logistic": record["baselines"]["logistic"]},
        "minus": {"logistic": {"auc": worse, "logloss": worse}},
    }
    cells = classifier_table(record).splitlines()[2].split("|")
    assert cells[5].strip().endswith("win")
    assert cells[6].strip().endswith("loss")


def test_a_missing_classifier_is_said():
    table = classifier_table({"baselines": {"lightgbm": {"skipped": "it is not installed"}}})
    assert "| LightGBM | it is not installed |" in table
    assert classifier_table({}) == ""


def test_frozen_histories_stand_beside_those_up_to_each_event(found):
    record = found[2]
    assert "minus_frozen" not in record  # nothing is ordered here
    gap = {"value": -0.02, "low": -0.03, "high": -0.01}
    baseline = record["baselines"]["logistic"] | {"frozen": {"auc": 0.7123, "logloss": 0.6123}}
    ranker = {
        "baselines": {"logistic": baseline},
        "minus": {"logistic": record["minus"]["logistic"]},
        "minus_frozen": {"logistic": {"auc": gap, "logloss": gap}},
    }
    [_, row] = [line for line in classifier_table(ranker).splitlines() if line.startswith("| Logistic regression")]
    assert row.startswith("| Logistic regression, frozen |")
    assert "0.7123 | 0.6123" in row
    assert [cell.split()[-1] for cell in row.split("|")[5:7]] == ["loss", "win"]
