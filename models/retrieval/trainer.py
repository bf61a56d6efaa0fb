"""Fit, refit and write the two towers of one run. Imports TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models.onnx.export import check_parity, export_onnx, feature_widths, full_float32, random_inputs
from models.retrieval.checkpoint import Checkpoint
from models.retrieval.examples import refitting_examples, training_examples
from models.retrieval.meta import RetrievalMeta
from models.retrieval.task import RetrievalTask
from models.retrieval.towers import build_towers
from models.retrieval.training import embed_items, train
from models.training.refit import epochs_to_best
from models.training.team import Team
from workflows.core import console
from workflows.core.plain import plain

__all__ = ["Trainer"]

REFIT = "refit"
PARITY_ROWS = 257

History = list[dict[str, Any]]


class Trainer:
    """Two towers from their first weights to their files; of several processes, each calls the same methods.

    Args:
        task: what they learn.
        scratch: where checkpoints are kept.
        fingerprint: identifies config and inputs in a checkpoint.
        team: the processes that train together.

    Attributes:
        batch_size: examples a step of this process, once they were gone over.
    """

    def __init__(self, task: RetrievalTask, scratch: Path, fingerprint: str, team: Team) -> None:
        tf.keras.utils.set_random_seed(task.training.seed)
        self.batch_size = 0
        self._task, self._scratch, self._fingerprint, self._team = task, scratch, fingerprint, team
        self._towers = build_towers(task.features.schema, task.training)

    def fit(self) -> History:
        """Train on the train split until recall on valid stops rising; a record per epoch."""
        task, checkpoint = self._task, Checkpoint(self._scratch, self._fingerprint)
        examples = training_examples(task.train, task.features, task.training)
        self.batch_size = examples.batch_size(self._team.shard)
        count = examples.num_units // self._team.size
        console.say(f"retrieval: {count:,} {examples.unit} an epoch, {self.batch_size:,} a step")
        return train(
            self._towers, examples, task.popularity, task.validation, checkpoint, self._fingerprint, self._team
        )

    def refit(self, history: History) -> History:
        """Go on over train and valid, as long as the best epoch suggests; a record per epoch, none where not wanted."""
        task, num_epochs = self._task, epochs_to_best(history)
        if not (task.training.refit_share and len(task.valid)):
            return []
        examples = refitting_examples(task.both, task.features, task.training, num_epochs)
        console.say(
            f"retrieval: the best was epoch {num_epochs}; {examples.config.max_epochs} over train and valid follow"
        )
        checkpoint = Checkpoint(self._scratch / REFIT, self._fingerprint)
        return train(self._towers, examples, task.popularity_of_both, None, checkpoint, self._fingerprint, self._team)

    def write(self, folder: Path) -> float:
        """Write embeddings, the ONNX query tower and meta.json; returns the ONNX tower's largest difference.

        Raises:
            ArtefactError: the ONNX tower differs from the trained one.
        """
        towers, training = self._towers, self._task.training
        folder.mkdir(exist_ok=True)

        def query(inputs: dict[str, Any]) -> dict[str, Any]:
            return {"query": towers.query({f.name: inputs[f.name] for f in towers.query_features})}

        path = folder / "query_tower.onnx"
        num_items = self._task.features.num_items
        with full_float32(), console.step(f"retrieval: write {folder.name}/", None, num_items, "items"):
            np.save(folder / "item_embeddings.npy", embed_items(towers, self._task.features))
            export_onnx(query, feature_widths(towers.query_features), path)
            difference = check_parity(path, query, random_inputs(towers.query_features, PARITY_ROWS))
        RetrievalMeta(
            embedding_dim=training.embedding_dim,
            temperature=training.temperature,
            query_inputs=tuple(feature.name for feature in towers.query_features),
        ).save(folder)
        return difference

    def save_models(self, folder: Path) -> None:
        """Write both towers as Keras SavedModels."""
        with plain(folder) as target, console.step("retrieval: save both towers", None, 2, "models"):
            self._towers.query.save(target / "query_tower", include_optimizer=False)
            self._towers.item.save(target / "item_tower", include_optimizer=False)
