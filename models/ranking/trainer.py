"""Fit, calibrate, refit and export one ranker. Imports TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models.metrics.classification import classification_metrics
from models.onnx.export import full_float32
from models.ranking.calibrate import fit_platt
from models.ranking.calibrate_tasks import calibrate_tasks
from models.ranking.export import export_ranker
from models.ranking.fit import fit, predict, sigmoid
from models.ranking.groups import GroupSource
from models.ranking.meta import Calibration, TaskCalibration
from models.ranking.model import Ranker
from models.ranking.task import RankingTask
from models.retrieval.checkpoint import Checkpoint
from models.training.refit import epochs_to_best, refitting
from models.training.team import Team
from workflows.core import console

__all__ = ["Trainer"]

REFIT = "refit"
SCAN_ROWS = 100_000
LEAST_SPREAD = 1e-5

History = list[dict[str, Any]]


class Trainer:
    """One ranker from its first weights to its files; of several processes, each calls the same methods.

    Args:
        task: what it learns.
        scratch: where checkpoints are kept.
        fingerprint: identifies config and inputs in a checkpoint.
        team: the processes that train together.
    """

    def __init__(self, task: RankingTask, scratch: Path, fingerprint: str, team: Team) -> None:
        tf.keras.utils.set_random_seed(task.config.seed)
        self.task_calibrations: tuple[TaskCalibration, ...] = ()
        self._task, self._scratch, self._fingerprint, self._team = task, scratch, fingerprint, team
        num_pairs = len(task.pair_inputs)
        mean, scale = _mean_and_scale(task.train, num_pairs)
        skip = np.full(num_pairs, 1.0 / max(num_pairs, 1))
        self.model = Ranker(task.features.schema, task.config, mean, scale, skip, task.tasks)

    def fit(self) -> History:
        """Train until the held-out loss stops falling; a record per epoch."""
        task, checkpoint = self._task, Checkpoint(self._scratch, self._fingerprint)
        train = task.train.share(self._team.shard)
        return fit(self.model, train, task.valid, task.config, checkpoint, self._fingerprint, self._team)

    def calibrate(self) -> Calibration:
        """Fit the map from logits to probabilities and measure it, before a refit sees the held-out rows."""
        task = self._task
        held_out = task.train if task.valid is None else task.valid
        labels, logits = predict(self.model, held_out, task.config.batch_size).flat()
        if task.tasks:
            self.task_calibrations = calibrate_tasks(
                task.tasks, labels, logits, task.calibrated_on, self._train_rows if task.valid is not None else None
            )
            return self.task_calibrations[0].calibration
        factor, offset = fit_platt(labels, logits) if task.training_examples == "sampled" else (1.0, 0.0)
        figures = classification_metrics(labels, sigmoid(factor * logits + offset))
        defined = {name: value if np.isfinite(value) else None for name, value in figures.items()}
        return Calibration(on=task.calibrated_on, factor=factor, offset=offset, **defined)

    def _train_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of the training examples."""
        return predict(self.model, self._task.train, self._task.config.batch_size).flat()

    def refit(self, history: History) -> History:
        """Go on over train and valid, as long as the best epoch suggests; a record per epoch, none where not wanted."""
        task, config = self._task, self._task.config
        if not config.refit_share or task.both is None:
            return []
        more = refitting(config, epochs_to_best(history), seed=config.seed + config.max_epochs)
        console.say(f"ranking: {more.max_epochs} epochs over train and valid follow")
        checkpoint = Checkpoint(self._scratch / REFIT, self._fingerprint)
        return fit(self.model, task.both.share(self._team.shard), None, more, checkpoint, self._fingerprint, self._team)

    def export(self, folder: Path, calibration: Calibration) -> dict[str, Any]:
        """Write the calibrated model's graphs and arrays; the shape as `export_ranker` describes it."""
        found = [task.calibration for task in self.task_calibrations] or [calibration]
        self.model.rescale(*(np.array([getattr(one, n) for one in found], np.float32) for n in ("factor", "offset")))
        with full_float32():
            return export_ranker(folder, self.model, self._task.features, self._task.config.max_stored_mb)


def _mean_and_scale(train: GroupSource, num_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the pair features over the training examples, float32 [P]; 1 of a constant."""
    if not num_pairs:
        return np.zeros(0, np.float32), np.ones(0, np.float32)
    group = next(iter(train.batches(SCAN_ROWS, seed=0)))
    values = group.pair[group.mask]
    mean, spread = values.mean(axis=0), values.std(axis=0)
    # Dividing a constant by next to nothing would leave the compiled ranker nothing but rounding.
    return mean, np.where(spread > LEAST_SPREAD * np.maximum(np.abs(mean), 1.0), spread, np.float32(1.0))
