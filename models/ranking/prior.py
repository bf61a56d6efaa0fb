"""The loss term of the embeddings' prior. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.ranking.model import Ranker
from models.ranking.tables import NormalTable
from models.training.optimizer import Adam
from workflows.features.schema import PADDING

__all__ = ["Prior"]


class Prior:
    """The divergence of the embeddings from their prior, as a share of the loss of one group.

    The evidence bound of the whole log is sum(loss of a group) + sum(divergence of a row), so that a row's prior fades
    by itself as its examples grow. A small table adds all of its rows to every batch. A table that lazy Adam moves adds
    the rows of the batch, each as often as it is there and divided by how often it is there in an epoch, of which
    what was seen so far is an estimate: the same on average, at a cost that does not grow with the table.

    Args:
        model: built.
        optimizer: tells which tables are moved lazily.
        num_groups: of an epoch of this process.
        num_processes: how many train together, each on other groups.
    """

    def __init__(self, model: Ranker, optimizer: Adam, num_groups: int, num_processes: int = 1) -> None:
        self._model, self._num_groups, self._num_processes = model, num_groups, num_processes
        self._num_seen = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self._lazy: dict[int, tf.Variable] = {}
        self._small: list[NormalTable] = []
        for table in model.normal_tables:
            if optimizer.is_lazy(table.means):
                size = table.means.shape[0]
                self._lazy[id(table)] = tf.Variable(tf.zeros(size, tf.float64), trainable=False)
            else:
                self._small.append(table)

    @property
    def variables(self) -> list[tf.Variable]:
        """What was seen so far, of this process: what a checkpoint needs to go on as if nothing had happened."""
        return [self._num_seen, *self._lazy.values()]

    def __call__(self, inputs: Mapping[str, tf.Tensor], num_groups: tf.Tensor) -> tf.Tensor:
        """Scalar to add to the mean loss of a batch.

        Args:
            inputs: query and item features of the batch by name.
            num_groups: int32, groups of the batch.
        """
        every_group = float(self._num_groups * self._num_processes)
        total = tf.add_n([tf.reduce_sum(table.divergence()) for table in self._small]) if self._small else 0.0
        total /= every_group
        if not self._lazy:
            return total
        epochs = self._num_seen.assign_add(tf.cast(num_groups, tf.float64)) / self._num_groups
        for table, codes in self._model.looked_up(inputs):
            if (counts := self._lazy.get(id(table))) is not None:
                seen = counts.scatter_add(tf.IndexedSlices(tf.ones_like(codes, tf.float64), codes))
                share = tf.cast(epochs / (tf.gather(seen, codes) * self._num_processes), tf.float32)
                share = tf.where(codes == PADDING, 0.0, share)  # left in place: processes average equally many rows
                total += tf.reduce_sum(share * table.divergence(codes)) / tf.cast(num_groups, tf.float32)
        return total
