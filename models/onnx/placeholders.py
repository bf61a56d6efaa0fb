"""Small variables in the place of large ones while a function is traced: what copies constants then copies little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Placeholders", "looked_up", "placeholders"]

# Rows of a placeholder. All its values are one marker that no trained weight has: from here on, exact in float32.
NUM_ROWS, FIRST_MARKER = 3, 2.0**60
LOOKUPS = {"ResourceGather"}


def looked_up(function: Any) -> list[Any]:
    """The float32 variables [R, D] that a concrete TensorFlow function uses for nothing but looking up rows."""
    used = {id(outer): {op.type for op in inner.consumers()} for outer, inner in function.graph.captures}
    return [
        variable
        for variable in function.variables
        if variable.shape.rank == 2 and variable.dtype == np.float32 and used.get(id(variable.handle)) == LOOKUPS
    ]


class Placeholders:
    """Finds the large variables again in what was made with their placeholders.

    Args:
        variables: the large ones.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self.variables = list(variables)

    def marker(self, number: int) -> float:
        """The value that fills the placeholder of a variable."""
        return FIRST_MARKER * (1 + number / 1024)

    def number_of(self, values: NDArray) -> int | None:
        """The variable whose placeholder an array is; None where it is none."""
        if values.ndim == 0 or values.shape[0] != NUM_ROWS or values.dtype != np.float32:
            return None
        return next((n for n in range(len(self.variables)) if bool((values == np.float32(self.marker(n))).all())), None)


@contextmanager
def placeholders(variables: Sequence[Any]) -> Iterator[Placeholders]:
    """Let functions that are traced inside the block see NUM_ROWS rows of each variable.

    Args:
        variables: distinct, as `looked_up` gives them: anything but a lookup of rows would mean something else.
    """
    import tensorflow as tf

    found = Placeholders(variables)
    small = [
        tf.Variable(tf.fill([NUM_ROWS, *variable.shape[1:]], np.float32(found.marker(number))))
        for number, variable in enumerate(variables)
    ]
    handles = [variable._handle for variable in variables]
    try:
        for variable, other in zip(variables, small, strict=True):
            variable._handle = other.handle
        yield found
    finally:
        for variable, handle in zip(variables, handles, strict=True):
            variable._handle = handle
