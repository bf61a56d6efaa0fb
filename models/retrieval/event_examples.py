"""Events as training examples; the query of each holds the mean of the history before it. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import tensorflow as tf

from models.dataset.features import Batch, Events, Features, Shard
from models.retrieval.objective import catalogue_loss
from models.retrieval.settled import TowerTraining
from models.retrieval.towers import Towers
from models.training.optimizer import cosine

__all__ = ["EventExamples"]


class EventExamples:
    """The interface of training examples, for those that are events; the other kinds override what differs.

    Args:
        positives: training events, each with an item of the catalogue.
        features: of the run.
        config: of the training.
        falls: whether the learning rate falls to 0 along half a cosine over `max_epochs`.

    Attributes:
        inputs: what a batch holds for the step beside the query features, or in another shape than theirs.
        unit: what a batch is made of, in the plural.
        least_steps: of an epoch, which batches of a small log are made smaller for, down to `smallest_batch`.
    """

    inputs: ClassVar[Mapping[str, tf.TensorSpec]] = {}
    unit: ClassVar[str] = "positives"
    least_steps: ClassVar[int] = 64
    smallest_batch: ClassVar[int] = 64

    def __init__(self, positives: Events, features: Features, config: TowerTraining, *, falls: bool = False) -> None:
        self.positives, self.features, self.config = positives, features, config
        self._falls = falls

    @property
    def num_targets(self) -> int:
        """Of an epoch, about; of all processes together."""
        return len(self.positives)

    @property
    def num_units(self) -> int:
        """Of an epoch, of all processes together."""
        return len(self.positives)

    def batch_size(self, shard: Shard) -> int:
        """Units a step of one process."""
        share = self.num_units // shard.size
        size = max(1, min(self.config.batch_size, share))
        if self.config.small_log_batches:
            size = min(size, max(share // self.least_steps, self.smallest_batch))
        return size

    def batches(self, *, seed: int, shard: Shard) -> Iterator[Batch]:
        """This process's share of the examples, once, in an order that follows from the seed."""
        return self.positives.batches(self.batch_size(shard), seed=seed, shard=shard, drop_last=True)

    def learning_rate(self, epochs_done: float) -> float:
        """Of the next step."""
        falling = cosine(epochs_done / self.config.max_epochs) if self._falls else 1.0
        return self.config.learning_rate * falling

    def query_inputs(self, towers: Towers, inputs: dict[str, Any], noise: tf.Tensor) -> dict[str, Any]:
        """The query tower's inputs, of a batch's; `noise`, int32 [2], seeds what is random in it."""
        return inputs

    def catalogue_loss(
        self, query: tf.Tensor, catalogue: tf.Tensor, item_row: tf.Tensor, inputs: dict[str, Any]
    ) -> tf.Tensor:
        """The mean softmax cross-entropy over the catalogue.

        Args:
            query: float32 [B, D].
            catalogue: float32 [N, D].
            item_row: int32 [R], the targets.
            inputs: of the batch.
        """
        return catalogue_loss(query, catalogue, item_row, self.config.temperature)
