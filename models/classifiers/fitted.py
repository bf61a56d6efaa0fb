"""The classifiers of a run: tuned on valid by log loss, then fitted on train and valid, as the ranker is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from models.baselines.tuning import Grid, Params, Trial, search
from models.classifiers.base import Classifier, Table
from models.classifiers.boosted_trees import BoostedTrees
from models.classifiers.logistic import Logistic
from models.metrics.classification import log_loss
from workflows.core import console
from workflows.core.extras import why_missing

__all__ = ["ClassifierRecord", "fitted_classifiers"]


class Choice(msgspec.Struct, frozen=True):
    """One classifier, the values of its parameters that are tried (the starting one first), and what it needs."""

    name: str
    build: Callable[..., Classifier]
    grid: Grid
    package: str
    distribution: str


CHOICES = (
    Choice(Logistic.name, Logistic, {"inverse_penalty": (0.1, 0.01, 0.03, 0.3, 1.0)}, "sklearn", "scikit-learn"),
    Choice(
        BoostedTrees.name,
        BoostedTrees,
        {
            "id_means": (True, False),
            "num_leaves": (63, 31, 15, 7, 255),
            "learning_rate": (0.1, 0.05),
            "smoothing": (10.0, 30.0),
        },
        "lightgbm",
        "lightgbm",
    ),
)


class ClassifierRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a classifier came about: why there is none, or what was picked, tried, and how long it took."""

    skipped: str | None = None
    picked: Params = {}
    metric: str = "logloss"
    grid: dict[str, Any] = {}
    trials: list[Trial] = []
    ended: bool = True
    tuning_seconds: float = 0.0


def fitted_classifiers(
    train: Table, valid: Table, both: Table, budget_s: float
) -> Iterator[tuple[str, Classifier | None, ClassifierRecord]]:
    """Every classifier at the best point that its search on valid found, fitted on train and valid.

    Args:
        train: to learn from in the search.
        valid: decides the parameters and when to stop.
        both: train and valid, to learn from in the end.
        budget_s: seconds that the search of one classifier may take; the trial under way is finished.

    Yields:
        Name, the fitted classifier (None where its package is missing, or there is no row to tune on), its record;
        `value` of a trial is the negative log loss.
    """
    for choice in CHOICES:
        missing = why_missing(choice.package, choice.distribution, "baselines")
        if missing:
            missing += ", then use --force"
        elif not len(valid):
            missing = "is tuned on the valid split, which has no rows"
        elif one_value := next((name for name, rows in (("train", train), ("valid", valid)) if _is_one(rows)), None):
            missing = f"cannot be tuned: the {one_value} split does not have both values of the label"
        if missing:
            reason = f"{choice.name} {missing}"
            console.say(f"evaluate: {reason}")
            yield choice.name, None, ClassifierRecord(skipped=reason)
            continue
        best: dict[str, Any] = {"value": -np.inf}

        def measure(params: Params, choice: Choice = choice, best: dict[str, Any] = best) -> float:
            model = choice.build(**params)
            model.fit(train, valid)
            value = -log_loss(valid.labels, model.probabilities(valid))
            if value > best["value"]:
                best |= {"value": value, "model": model}
            return value

        started_at = time.perf_counter()
        found = search(choice.grid, measure, budget_s)
        seconds = time.perf_counter() - started_at
        console.say(f"evaluate: {choice.name} tuned in {seconds:.0f} s ({len(found.trials)} trials: {found.best})")
        best["model"].refit(both)
        yield (
            choice.name,
            best["model"],
            ClassifierRecord(
                picked=found.best,
                grid=dict(choice.grid),
                trials=found.trials,
                ended=found.ended,
                tuning_seconds=seconds,
            ),
        )


def _is_one(table: Table) -> bool:
    return len(np.unique(table.labels)) < 2
