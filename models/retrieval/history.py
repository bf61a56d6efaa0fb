"""A user's recent items as one vector: causal self-attention over their embeddings. Imports TensorFlow.

Trained on whole stretches of a history at once: every position predicts the item after it. Serving needs the last
position alone, so the last block computes one query instead of L.

References:
    Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018.
    Raffel et al., Exploring the limits of transfer learning, JMLR 2020: a learnt bias per distance in place of
    positions. The same distance means the same wherever in a history it lies, however long that is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["HistoryEncoder"]

FORBIDDEN = -1e9
# Keras takes another kernel for larger ones, which does not convert to ONNX.
NORM_EPSILON = 1e-6


@tf.keras.utils.register_keras_serializable(package="cascade")
class HistoryEncoder(tf.keras.layers.Layer):
    """Embedded items, oldest first and padded right, to one state per position or to the state of the last.

    Args:
        length: L, the most items that it is given.
        num_blocks: of attention and a feed-forward layer, each on normalised input and added to it.
        num_heads: of each block; divides the width.
        dropout: share of zeros after the embedding and after each half of a block, in training.
    """

    def __init__(self, length: int, num_blocks: int, num_heads: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.num_blocks, self.num_heads, self.dropout = length, num_blocks, num_heads, dropout
        self.blocks = [_Block(num_heads, length, dropout, name=f"block_{i}") for i in range(num_blocks)]
        self.norm = tf.keras.layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm")

    def call(self, embedded: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """The state after the last item: [B, D]; zeros where there is no item.

        Args:
            embedded: float32 [B, L, D].
            known: float32 [B, L], 1 for an item and 0 for padding.
        """
        states = self._scaled(embedded, known)
        steps = tf.range(self.length, dtype=tf.float32)[None, :]
        last = tf.reduce_max(known * (steps + 1.0), axis=1, keepdims=True) - 1.0  # (B, 1); -1 without an item
        at_last = tf.cast(tf.equal(steps, last), tf.float32)[:, None, :]  # (B, 1, L): picks the row of that position
        causal = _causal(self.length, known)
        for block in self.blocks[:-1]:
            states = block(states, causal)
        state = self.blocks[-1](states, causal, asking=at_last)
        return self.norm(state)[:, 0] * tf.reduce_max(known, axis=1, keepdims=True)

    def states(self, embedded: tf.Tensor, known: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The state after each item, in training: [W, K, D], K at most L.

        Args:
            embedded: float32 [W, K, D].
            known: float32 [W, K]; hidden items may lie between known ones.
            seed: int32 [2], of the dropout: the same seed drops the same values.
        """
        length = tf.shape(known)[1]
        states = _dropped(self._scaled(embedded, known), self.dropout, _seed(seed, 1))
        causal = _causal(length, known)
        for i, block in enumerate(self.blocks):
            states = block(states, causal, seed=_seed(seed, 2 + 2 * i))
        return self.norm(states)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to build the layer again."""
        names = ("length", "num_blocks", "num_heads", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _scaled(self, embedded: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """Embeddings start small; scaled as in Vaswani et al. 2017 they weigh as much as what the blocks add."""
        return embedded * known[:, :, None] * math.sqrt(embedded.shape[-1])


@tf.keras.utils.register_keras_serializable(package="cascade")
class _Block(tf.keras.layers.Layer):
    """Attention of some positions to all, then a feed-forward layer."""

    def __init__(self, num_heads: int, length: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.length, self.dropout = num_heads, length, dropout

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs [B, K, D]."""
        width = int(input_shape[-1])
        dense, norm = tf.keras.layers.Dense, tf.keras.layers.LayerNormalization
        self.attention_norm = norm(epsilon=NORM_EPSILON, name="attention_norm")
        self.query, self.key, self.value = (dense(width, name=name) for name in ("query", "key", "value"))
        self.attended = dense(width, name="attended")
        self.wide_norm = norm(epsilon=NORM_EPSILON, name="wide_norm")
        self.wide, self.narrow = dense(2 * width, activation="relu", name="wide"), dense(width, name="narrow")
        self.distance_bias = self.add_weight("distance_bias", shape=[self.num_heads, self.length], initializer="zeros")
        super().build(input_shape)

    def call(
        self, states: tf.Tensor, causal: tf.Tensor, asking: tf.Tensor | None = None, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Add to positions what they attend to, and what follows from that: [B, Q, D].

        Args:
            states: float32 [B, K, D].
            causal: float32 [B, 1, K, K], 0 where a position may look.
            asking: float32 [B, Q, K], rows that pick the positions that ask; None: all do, Q = K.
            seed: of the dropout, int32 [2]; None: no dropout.
        """
        normed = self.attention_norm(states)
        scores_bias = causal + self._distance_bias(tf.shape(states)[1])  # (B, H, K, K)
        queries = normed
        if asking is not None:
            states, queries = tf.matmul(asking, states), tf.matmul(asking, normed)
            scores_bias = tf.matmul(asking[:, None], scores_bias)
        query, key, value = (self._heads(v) for v in (self.query(queries), self.key(normed), self.value(normed)))
        scale = 1.0 / math.sqrt(query.shape[-1])
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * scale + scores_bias)  # (B, H, Q, K)
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])  # (B, Q, H, D / H)
        attended = self.attended(tf.reshape(mixed, tf.shape(states)))
        first = states + self._dropped(attended, seed, 0)
        return first + self._dropped(self.narrow(self.wide(self.wide_norm(first))), seed, 1)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to build the layer again."""
        names = ("num_heads", "length", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _distance_bias(self, length: tf.Tensor) -> tf.Tensor:
        """Of each pair of positions: float32 [1, H, K, K]; what lies ahead gets that of the position itself."""
        steps = np.arange(self.length)
        distance = np.maximum(steps[:, None] - steps[None, :], 0)
        return tf.gather(self.distance_bias, distance, axis=1)[None, :, :length, :length]

    def _heads(self, values: tf.Tensor) -> tf.Tensor:
        """[B, K, D] -> [B, H, K, D / H]."""
        shape = [-1, tf.shape(values)[1], self.num_heads, values.shape[-1] // self.num_heads]
        return tf.transpose(tf.reshape(values, shape), [0, 2, 1, 3])

    def _dropped(self, values: tf.Tensor, seed: tf.Tensor | None, place: int) -> tf.Tensor:
        return values if seed is None else _dropped(values, self.dropout, _seed(seed, place))


def _causal(length: int | tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """0 where a position may look, FORBIDDEN at padding and at what lies ahead: float32 [B, 1, K, K].

    Every position may look at itself: one that saw nothing would spread its attention over what lies ahead.
    """
    steps = tf.range(length)
    behind = tf.cast(steps[:, None] > steps[None, :], tf.float32) * known[:, None, None, :]
    return (1.0 - behind - tf.eye(length)) * FORBIDDEN


def _seed(seed: tf.Tensor, place: int) -> tf.Tensor:
    """Another one for each place that draws."""
    return tf.add(seed, [0, place << 20])


def _dropped(values: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Stateless, so that a training that was stopped goes on as if it had not been."""
    return tf.nn.experimental.stateless_dropout(values, rate, seed) if rate else values
