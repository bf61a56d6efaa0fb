"""The loss of several tasks over all displays. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.ranking.tasks import Task

__all__ = ["task_losses"]

LEAST = 1e-7


def task_losses(logits: tf.Tensor, labels: tf.Tensor, tasks: Sequence[Task]) -> tf.Tensor:
    """Weighted loss of each display, float32 [G].

    A task's logit is that of its probability given its parent's; its loss is binary cross-entropy of the product along
    its parents, so that every display counts, not only those where the parent happened. Displays on which only the
    parent happened would be no fair sample of what the server ranks.

    Args:
        logits: float32 [G, T].
        labels: float32 [G, T], NaN where it is not known; it then counts nothing.
        tasks: T of them, each after its parent.

    Reference: Ma et al., "Entire space multi-task model", SIGIR 2018.
    """
    total: tf.Tensor = tf.zeros_like(logits[:, 0])
    logs: list[tf.Tensor] = []
    for place, task in enumerate(tasks):
        z, label = logits[:, place], labels[:, place]
        known = tf.math.is_finite(label)
        label = tf.where(known, label, tf.zeros_like(label))
        own = tf.math.log_sigmoid(z)
        if task.parent < 0:
            logs.append(own)
            loss = tf.nn.sigmoid_cross_entropy_with_logits(label, z)
        else:
            logs.append(logs[task.parent] + own)
            loss = -label * logs[-1] - (1.0 - label) * _log_of_rest(logs[-1])
        total += task.weight * tf.where(known, loss, tf.zeros_like(loss))
    return total


def _log_of_rest(log_p: tf.Tensor) -> tf.Tensor:
    """log(1 - p) of log p, without losing the small difference of p to 0 or 1."""
    return tf.math.log(-tf.math.expm1(tf.minimum(log_p, -LEAST)))
