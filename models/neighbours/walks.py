"""Two-step walks over the user-item graph: from an item to a user who has it, and on to another of the user's items.

Reference: Paudel et al., "Updatable, accurate, diverse, and scalable recommendations for interactive applications", ACM
TiiS 2017 (RP3beta), with the damping by popularity on both ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dataset.blocks import in_threads, spans_of
from models.neighbours.counts import SharedUsers
from models.neighbours.nearest import sparse_rows, strongest

__all__ = ["walk_weights"]


def walk_weights(
    paths: SharedUsers, popularity: NDArray[np.float32], powers: Sequence[float], num_neighbours: int
) -> list[sparse.csr_matrix]:
    """The strongest walks to every item.

    Args:
        paths: of weights 1 / (number of the user's items).
        popularity: float32 [N], users who have the item.
        powers: for each result, both ends are divided by the popularity to this power.
        num_neighbours: kept per item.

    Returns:
        For each power float32 [N, N]; row i holds the items that contribute to item i, never i itself.
    """
    num_items = paths.num_items
    width = min(num_neighbours, num_items - 1)
    dampings = [np.maximum(popularity, 1.0).astype(np.float32) ** np.float32(-power) for power in powers]
    columns = [np.empty((num_items, width), np.int32) for _ in powers]
    values = [np.empty((num_items, width), np.float32) for _ in powers]

    def fill(span: tuple[int, int]) -> None:
        # The counts of all items together would be the largest thing here.
        counts = paths.rows(*span)
        for at, damping in enumerate(dampings):
            columns[at][slice(*span)], values[at][slice(*span)] = strongest(counts, damping, width, span[0])

    in_threads(fill, spans_of(num_items))
    return [sparse_rows(*found) for found in zip(columns, values, strict=True)]
