"""Adam whose step costs the same however many ids there are. Imports TensorFlow.

Adam decays both moments of every row at every step, also of the rows that no example of the batch touched: three passes
over each table. For large tables the lazy variant moves only the rows of the batch; small tables keep Adam's rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import merlin.models.tf as mm
import tensorflow as tf

__all__ = ["Adam", "cosine"]


class Adam:
    """Adam, lazy for tables of many rows.

    Both start from the same moments and correct their bias by the same step count. A row's lazy moments decay only when
    the row is in a batch, so that a rare id moves further at each of its turns.

    Args:
        variables: every one that gradients will come for; the optimizer's own variables are made at once.
        learning_rate: of both.
        lazy_from: rows from which a table is moved lazily; 0: none is.
    """

    def __init__(self, variables: Sequence[tf.Variable], learning_rate: float, lazy_from: int) -> None:
        large = [v for v in variables if lazy_from and v.shape.rank == 2 and v.shape[0] >= lazy_from]
        self._lazy_refs = {variable.ref() for variable in large}
        self._dense = tf.keras.optimizers.legacy.Adam(learning_rate)
        self._lazy = mm.LazyAdam(learning_rate)
        self._dense._create_all_weights([v for v in variables if v.ref() not in self._lazy_refs])
        self._lazy._create_all_weights(large)

    @property
    def variables(self) -> list[tf.Variable]:
        """Step counts and moments, in a stable order: what a checkpoint needs to go on as if nothing had happened."""
        return [*self._dense.variables(), *self._lazy.variables()]

    def set_learning_rate(self, value: float) -> None:
        """What the next steps move by; of compiled ones too, which read it from a variable."""
        for optimizer in (self._dense, self._lazy):
            optimizer.learning_rate = value

    def is_lazy(self, variable: tf.Variable) -> bool:
        """Whether only the rows of the batch are moved."""
        return variable.ref() in self._lazy_refs

    def apply_gradients(self, gradients: Iterable[tuple[Any, tf.Variable]]) -> None:
        """Move the variables.

        Args:
            gradients: (dense tensor, tf.IndexedSlices with any order and repetition of rows, or None; variable).
        """
        pairs = [(gradient, variable) for gradient, variable in gradients if gradient is not None]
        for optimizer, is_lazy in ((self._dense, False), (self._lazy, True)):
            own = [(gradient, variable) for gradient, variable in pairs if self.is_lazy(variable) == is_lazy]
            if own:
                optimizer.apply_gradients(own)


def cosine(done: float) -> float:
    """The share of the learning rate after a share `done` of the training: from 1 to 0 along half a cosine.

    Reference: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without any.
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
