"""End a training at once when its loss or weights are not finite: nothing useful could follow."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from workflows.core.errors import TrainingError

__all__ = ["CHECKED_EVERY", "check_loss", "check_weights"]

# Steps between two looks at the loss within an epoch: each look waits for the device.
CHECKED_EVERY = 64


def check_loss(stage: str, epoch: int, num_steps: int, value: float, remedies: str, *, of: str = "loss") -> None:
    """End a training whose loss is no finite number.

    Args:
        stage: whose training it is.
        epoch: counted from 0.
        num_steps: of this epoch so far.
        value: the loss.
        remedies: which settings to change.
        of: what the value is called.

    Raises:
        TrainingError: the value is infinite or not a number.
    """
    if not math.isfinite(value):
        raise TrainingError(
            f"{stage}: the {of} is {value} at step {num_steps:,} of epoch {epoch + 1}, so training stops; "
            f"{remedies}, and look for extreme numbers among the continuous features"
        )


def check_weights(stage: str, weights: Iterable[NDArray], remedies: str) -> None:
    """Refuse trained weights that are no finite numbers: the last step can spoil them, and no loss would tell.

    Raises:
        TrainingError: a weight is infinite or not a number.
    """
    if not all(np.isfinite(values).all() for values in weights):
        raise TrainingError(
            f"{stage}: the trained weights are no finite numbers; {remedies}, and look for extreme numbers among the "
            "continuous features"
        )
