"""Which rows the ranker is measured on, and what that says."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.ranker import calibration_quality, classification_quality
from models.data import load_features
from models.metrics.bootstrap import Resamples
from models.metrics.calibration import calibration_gap
from models.metrics.paired import Scored, paired_differences
from workflows.core.run import Run

__all__ = ["ranker_quality"]

ROWS = {
    "impressions": "logged impressions of the test split",
    "sampled": "rows: positives of the test split and negatives drawn as in training; calibration is to that mix",
}


def ranker_quality(run: Run, config: Config) -> dict[str, Any]:
    """The "ranker" record of metrics.json.

    Args:
        run: its ranking stage has finished.
        config: of the run.
    """
    from models.ranking.scores import ranking_scores

    meta = msgspec.json.decode((run.folder("ranking") / "meta.json").read_bytes())
    users, labels, probabilities = ranking_scores(run, "test")
    quality = classification_quality(labels, probabilities)
    if "auc" in quality:
        resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
        quality |= calibration_quality(calibration_gap(labels, probabilities, users, resamples), quality)
    quality |= {"label": meta["label"] or "interaction", "rows": ROWS.get(meta["training_rows"], "rows")}
    if config.evaluate.peers.use and meta["training_rows"] == "impressions" and "auc" in quality:
        quality |= measure_classifiers(run, config, meta["label"], labels, probabilities)
    return quality


def measure_classifiers(
    run: Run, config: Config, label: str, labels: NDArray, probabilities: NDArray
) -> dict[str, dict[str, Any]]:
    """Other classifiers of the same rows, fitted on train and tuned on valid.

    Args:
        run: its features stage has finished.
        config: of the run.
        label: label column.
        labels: [R] of the test rows.
        probabilities: [R], the ranker's.

    Returns:
        "peers": name -> figures and how it was tuned, or why it is missing; "minus": name -> "auc" and "logloss" ->
        the ranker's minus the other's, with its interval.
    """
    from models.classifiers.base import load_table
    from models.classifiers.fitted import fitted_classifiers

    features, settings = load_features(run), config.evaluate
    train, valid = load_table(run, features, "train", label), load_table(run, features, "valid", label)
    test = load_table(run, features, "test", label)
    resamples = Resamples(settings.num_bootstrap, settings.seed)
    ours = Scored.of(labels, probabilities)
    peers: dict[str, Any] = {}
    minus: dict[str, Any] = {}
    for name, model, record in fitted_classifiers(train, valid, settings.peers.budget_s, settings.seed):
        peers[name] = msgspec.to_builtins(record)
        if model is not None:
            found = model.probabilities(test)
            peers[name] |= classification_quality(test.labels, found)
            gaps = paired_differences(ours, Scored.of(test.labels, found), test.user_row, resamples)
            minus[name] = msgspec.to_builtins(gaps)
    return {"peers": peers, "minus": minus}
