"""How a cost grows: the slope of its logarithm over that of the size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["shape_of", "slope"]

# Slopes up to each bound, and what they are called.
SHAPES = ((0.1, "does not grow"), (0.8, "grows slower than the catalogue"), (1.2, "grows with the catalogue"))


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Exponent b of the least-squares fit cost = a size^b; null for fewer than two sizes or a cost of zero."""
    if len(set(sizes)) < 2 or min(costs) <= 0:
        return None
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def shape_of(exponent: float | None) -> str:
    """The exponent in words."""
    if exponent is None:
        return "not measured"
    return next((words for bound, words in SHAPES if exponent <= bound), "grows faster than the catalogue")
