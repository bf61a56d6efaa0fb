"""Places within runs of rows that belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["places_in_runs"]


def places_in_runs(counts: NDArray) -> NDArray[np.int64]:
    """0, 1, 2, ... within every run: int [G] rows of each run, none among them, -> int64 [counts.sum()]."""
    places: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return places
