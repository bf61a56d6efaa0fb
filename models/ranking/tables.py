"""Embedding tables whose values are normal variables rather than numbers. Imports TensorFlow.

A row that few examples touched could be many things, and one best guess at it takes their noise for taste. So training
learns a mean and a standard deviation of every value, draws the value anew for every example, and holds the two to a
normal prior around 0: what the examples do not say, stays as wide as the prior. What is served are the means.

Reference: Blundell et al., "Weight uncertainty in neural networks", ICML 2015 (the reparameterised draw and the
divergence from the prior); Kingma, Salimans and Welling, "Variational dropout and the local reparameterization trick",
NeurIPS 2015 (one draw for the mean of a list).
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from merlin.models import tf as mm
from merlin.models.utils.schema_utils import create_categorical_column
from numpy.typing import NDArray

from workflows.features.schema import PADDING

__all__ = ["NormalTable"]

# Narrow enough that the first steps learn the means, wide enough that the draws are felt soon after.
FIRST_DEVIATION = 0.05


class NormalTable(tf.keras.layers.Layer):
    """V rows of D independent normal variables; without a prior, V rows of D numbers.

    Args:
        name: of the table.
        size: V.
        dim: D.
        spread: standard deviation of the prior; 0: there is none, and nothing is drawn.
    """

    def __init__(self, name: str, size: int, dim: int, spread: float) -> None:
        super().__init__(name=f"normal_{name}")
        self._spread = spread
        self._means = mm.EmbeddingTable(dim, create_categorical_column(name, size - 1), name=f"table_{name}")
        self.log_deviations: tf.Variable | None = None
        if spread:
            first = tf.constant_initializer(math.log(FIRST_DEVIATION))
            self.log_deviations = self.add_weight(name=f"deviations_{name}", shape=(size, dim), initializer=first)

    @property
    def means(self) -> tf.Variable:
        """float32 [V, D]; there once the table was looked up."""
        return self._means.table.embeddings

    def values(self) -> NDArray[np.float32]:
        """The means as they are served, float32 [V, D]."""
        found: NDArray[np.float32] = self.means.numpy()
        return found

    def scalar(self, codes: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Codes [B, 1] -> float32 [B, D]: the means; with a seed, int32 [2], a draw for each row instead."""
        mean = self._means(codes)
        if self.log_deviations is None or seed is None:
            return mean
        return mean + tf.exp(tf.gather(self.log_deviations, codes[:, 0])) * _normal(tf.shape(mean), seed)

    def pooled(self, codes: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Codes [B, L] -> float32 [B, D]: the mean over a list's values without the padding; drawn as a whole."""
        mask = tf.cast(codes != PADDING, tf.float32)[..., None]
        count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
        mean = tf.reduce_sum(self._means(codes[..., None]) * mask, axis=1) / count  # (B, D)
        if self.log_deviations is None or seed is None:
            return mean
        variance = tf.reduce_sum(tf.exp(2.0 * tf.gather(self.log_deviations, codes)) * mask, axis=1)
        return mean + tf.sqrt(variance + 1e-12) / count * _normal(tf.shape(mean), seed)

    def divergence(self, codes: tf.Tensor | None = None) -> tf.Tensor:
        """Kullback-Leibler divergence of rows from the prior, in nats: float32 [V], or [R] of the codes [R]."""
        if self.log_deviations is None:
            return tf.zeros((self.means.shape[0],) if codes is None else tf.shape(codes))
        means, logs = self.means, self.log_deviations
        if codes is not None:
            means, logs = tf.gather(means, codes), tf.gather(logs, codes)
        logs = logs - math.log(self._spread)
        return 0.5 * tf.reduce_sum(tf.square(means / self._spread) + tf.exp(2.0 * logs) - 2.0 * logs - 1.0, axis=1)


def _normal(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed)
