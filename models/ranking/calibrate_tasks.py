"""Calibration of several tasks on what was held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.metrics.classification import classification_metrics
from models.ranking.calibrate import fit_platt
from models.ranking.meta import Calibration, TaskCalibration
from models.ranking.tasks import Task
from runtime.ranker.tasks import probabilities

__all__ = ["calibrate_tasks"]

LEAST_ROWS = 50


def calibrate_tasks(
    tasks: Sequence[Task], labels: NDArray, logits: NDArray, on: Literal["valid", "train"]
) -> tuple[TaskCalibration, ...]:
    """Factor and offset of every task's logit, and how well the probabilities then fit.

    The first task's logit stays as it is, as that of a ranker without tasks. Those after another one are fitted on the
    displays where that one happened, and where they happened at all so often that two numbers can be told.

    Args:
        tasks: T of them.
        labels: float32 [R, T], NaN where not known.
        logits: float32 [R, T].
        on: the split.
    """
    scaled = np.array(logits, np.float64)
    maps: list[tuple[float, float]] = []
    for place, task in enumerate(tasks):
        factor, offset = 1.0, 0.0
        if task.parent >= 0:
            rows = (labels[:, task.parent] == 1) & np.isfinite(labels[:, place])
            own = labels[rows, place]
            if min(own.sum(), len(own) - own.sum()) >= LEAST_ROWS:
                factor, offset = fit_platt(own, logits[rows, place])
        scaled[:, place] = factor * scaled[:, place] + offset
        maps.append((factor, offset))
    found = probabilities(scaled, [task.parent for task in tasks])
    return tuple(
        _measured(task, on, scale, labels[:, place], found[:, place])
        for place, (task, scale) in enumerate(zip(tasks, maps, strict=True))
    )


def _measured(
    task: Task, on: Literal["valid", "train"], scale: tuple[float, float], labels: NDArray, found: NDArray
) -> TaskCalibration:
    known = np.isfinite(labels)
    figures = classification_metrics(labels[known], found[known])
    defined = {name: float(value) if np.isfinite(value) else None for name, value in figures.items()}
    fitted = Calibration(on=on, factor=scale[0], offset=scale[1], **defined)
    return TaskCalibration(task=task.name, parent=task.parent, calibration=fitted)
