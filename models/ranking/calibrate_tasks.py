"""Calibration of several tasks on what was held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.metrics.classification import classification_metrics
from models.ranking.calibrate import fit_platt
from models.ranking.meta import FIGURES, Calibration, TaskCalibration
from models.ranking.tasks import Task
from runtime.ranker.tasks import probabilities

__all__ = ["calibrate_tasks"]

LEAST_ROWS = 50


def calibrate_tasks(
    tasks: Sequence[Task],
    labels: NDArray,
    logits: NDArray,
    on: Literal["valid", "train"],
    train: Callable[[], tuple[NDArray, NDArray]] | None = None,
) -> tuple[TaskCalibration, ...]:
    """Factor and offset of every task's logit, and how well the probabilities then fit.

    A task after another one is fitted on the displays where that one happened. A task keeps its logit where it, or its
    absence, was seen too rarely to tell two numbers; one that matures too late for the held-out displays is fitted on
    those of training.

    Args:
        tasks: T of them.
        labels: float32 [R, T], NaN where not known.
        logits: float32 [R, T].
        on: the split.
        train: gives labels and logits of the training examples; None: these are they.
    """
    rows: dict[str, tuple[NDArray, NDArray]] = {on: (labels, np.array(logits, np.float64))}
    found: list[TaskCalibration] = []
    for place, task in enumerate(tasks):
        where: Literal["valid", "train"] = on if train is None or _is_enough(labels, place, task) else "train"
        if train is not None and where not in rows:
            learnt_labels, learnt = train()
            scaled = np.array(learnt, np.float64)
            for before, one in enumerate(found):
                scaled[:, before] = one.calibration.factor * scaled[:, before] + one.calibration.offset
            rows[where] = learnt_labels, scaled
        scale = _scale(*rows[where], place, task)
        for _, scaled in rows.values():
            scaled[:, place] = scale[0] * scaled[:, place] + scale[1]
        happens = probabilities(rows[where][1][:, : place + 1], [one.parent for one in tasks[: place + 1]])
        found.append(_measured(task, where, scale, rows[where][0][:, place], happens[:, place]))
    return tuple(found)


def _is_enough(labels: NDArray, place: int, task: Task) -> bool:
    """Whether a task's two numbers can be told from some displays."""
    own = labels[_rows(labels, place, task), place]
    return bool(min(own.sum(), len(own) - own.sum()) >= LEAST_ROWS)


def _rows(labels: NDArray, place: int, task: Task) -> NDArray[np.bool_]:
    """The displays that a task's logit is about, and where its label is known."""
    known: NDArray[np.bool_] = np.isfinite(labels[:, place])
    return known if task.parent < 0 else known & (labels[:, task.parent] == 1)


def _scale(labels: NDArray, logits: NDArray, place: int, task: Task) -> tuple[float, float]:
    if not _is_enough(labels, place, task):
        return 1.0, 0.0
    rows = _rows(labels, place, task)
    return fit_platt(labels[rows, place], logits[rows, place])


def _measured(
    task: Task, on: Literal["valid", "train"], scale: tuple[float, float], labels: NDArray, found: NDArray
) -> TaskCalibration:
    known = np.isfinite(labels)
    figures = classification_metrics(labels[known], found[known]) if known.any() else dict.fromkeys(FIGURES, np.nan)
    defined = {name: float(value) if np.isfinite(value) else None for name, value in figures.items()}
    fitted = Calibration(on=on, factor=scale[0], offset=scale[1], **defined)
    return TaskCalibration(task=task.name, parent=task.parent, calibration=fitted)
