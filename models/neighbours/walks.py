"""Two-step walks over the user-item graph: from an item to a user who has it, and on to another of the user's items.

Reference: Paudel et al., "Updatable, accurate, diverse, and scalable recommendations for interactive applications", ACM
TiiS 2017 (RP3beta), with the damping by popularity on both ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.neighbours.nearest import sparse_rows, strongest

__all__ = ["walk_weights"]


def walk_weights(
    counts: sparse.csr_matrix, popularity: NDArray[np.float32], power: float, num_neighbours: int
) -> sparse.csr_matrix:
    """The strongest walks to every item.

    Args:
        counts: [N, N], symmetric: over the users who have both, the sum of 1 / (number of the user's items).
        popularity: float32 [N], users who have the item.
        power: both ends are divided by the popularity to this power.
        num_neighbours: kept per item.

    Returns:
        float32 [N, N]; row i holds the items that contribute to item i, never i itself.
    """
    damping = np.maximum(popularity, 1.0).astype(np.float32) ** np.float32(-power)
    columns, values = strongest(counts, damping, min(num_neighbours, counts.shape[0]))
    return sparse_rows(columns, values)
