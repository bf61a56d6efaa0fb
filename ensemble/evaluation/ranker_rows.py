"""The ranker's part of the report: the rows it is measured on, and other classifiers on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.random_order import random_order
from ensemble.evaluation.ranker import calibration_quality, classification_quality
from models.classifiers.examples import FROZEN, UP_TO_EVENT, classifier_examples, frozen_history, is_ordered
from models.dataset.features import load_features
from models.metrics.bootstrap import Resamples
from models.metrics.calibration import calibration_gap
from models.metrics.paired import Scored, paired_differences
from models.ranking.meta import RankingMeta
from workflows.core.run import Run

__all__ = ["ranker_quality"]

FIGURES = ("auc", "logloss", "expected_calibration_error")
ROWS = {
    "impressions": "logged impressions of the test split",
    "sampled": "rows: positives of the test split and negatives drawn as in training; calibration is to that mix",
}


def ranker_quality(run: Run, config: Config) -> dict[str, Any]:
    """The "ranker" record of metrics.json.

    Impressions are scored with their histories up to each of them, which is what a server that is told of every event
    knows; where events are ordered also with the histories frozen at the end of valid ("frozen").

    Args:
        run: its ranking stage has finished.
        config: of the run.
    """
    from models.ranking.scores import ranking_scores

    meta = RankingMeta.load(run.folder("ranking"))
    users, labels, probabilities = ranking_scores(run, "test")
    quality = classification_quality(labels, probabilities)
    if "auc" in quality:
        resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
        quality |= calibration_quality(calibration_gap(labels, probabilities, users, resamples), quality)
    quality |= {"label": meta.label or "interaction", "rows": ROWS[meta.training_examples]}
    if meta.training_examples != "impressions" or "auc" not in quality:
        return quality
    if meta.tasks:
        quality["tasks"] = _tasks(run)
    quality |= random_order(run, config, labels, probabilities)
    found = {UP_TO_EVENT: probabilities} | _frozen(run)
    if FROZEN in found:
        quality[FROZEN] = _figures(labels, found[FROZEN])
    if config.evaluate.baselines.use:
        quality |= measure_classifiers(run, config, meta.label, labels, found)
    return quality


def measure_classifiers(
    run: Run, config: Config, label: str, labels: NDArray, ours: Mapping[str, NDArray]
) -> dict[str, dict[str, Any]]:
    """Other classifiers of the same rows and histories, tuned on valid, fitted on train and valid.

    Args:
        run: its features stage has finished.
        config: of the run.
        label: label column.
        labels: [R] of the test rows.
        ours: "up_to_event" and, where events are ordered, "frozen" -> [R], the ranker's probabilities.

    Returns:
        "baselines": name -> figures, those with frozen histories as "frozen", and how it was tuned, or why it is
        missing; "minus": name -> "auc" and "logloss" -> the ranker's minus the other's, with its interval;
        "minus_frozen": the same with frozen histories.
    """
    from models.classifiers.fitted import fitted_classifiers

    settings = config.evaluate
    rows = classifier_examples(run, load_features(run), label, settings.seed)
    resamples = Resamples(settings.num_bootstrap, settings.seed)
    scored = {known: Scored.of(labels, probabilities) for known, probabilities in ours.items()}
    record: dict[str, dict[str, Any]] = {"baselines": {}, "minus": {}}
    if FROZEN in ours:
        record["minus_frozen"] = {}
    for name, model, how in fitted_classifiers(rows.train, rows.valid, rows.both, settings.baselines.budget_s):
        record["baselines"][name] = msgspec.to_builtins(how)
        if model is None:
            continue
        for known, table in rows.test.items():
            found = model.probabilities(table)
            gaps = paired_differences(scored[known], Scored.of(table.labels, found), table.user_row, resamples)
            record["minus" if known == UP_TO_EVENT else "minus_frozen"][name] = msgspec.to_builtins(gaps)
            record["baselines"][name] |= (
                classification_quality(table.labels, found)
                if known == UP_TO_EVENT
                else {FROZEN: _figures(table.labels, found)}
            )
    return record


def _frozen(run: Run) -> dict[str, NDArray]:
    """The ranker's probabilities with histories as of the end of valid; nothing where no event is ordered."""
    from models.ranking.scores import ranking_scores

    if not is_ordered(run):
        return {}
    return {FROZEN: ranking_scores(run, "test", frozen_history(run, load_features(run)))[2]}


def _tasks(run: Run) -> dict[str, dict[str, Any]]:
    """Every task's figures over the displays where its label is known."""
    from models.ranking.scores import task_scores

    names, labels, found = task_scores(run, "test")
    known = [np.isfinite(labels[:, place]) for place in range(len(names))]
    return {
        name: classification_quality(labels[rows, place], found[rows, place])
        for place, (name, rows) in enumerate(zip(names, known, strict=True))
    }


def _figures(labels: NDArray, probabilities: NDArray) -> dict[str, float]:
    quality = classification_quality(labels, probabilities)
    return {name: quality[name] for name in FIGURES}
