"""Two-step walks over the user-item graph: from an item to a user who has it, and on to another of the user's items.

Reference: Paudel et al., "Updatable, accurate, diverse, and scalable recommendations for interactive applications", ACM
TiiS 2017 (RP3beta), with the damping by popularity on both ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["walk_weights"]

BLOCK_CELLS = 20_000_000


def walk_weights(
    counts: sparse.csr_matrix, popularity: NDArray[np.float32], power: float, num_neighbours: int
) -> sparse.csr_matrix:
    """The strongest walks to every item.

    Args:
        counts: [N, N], symmetric: over the users who have both, the sum of 1 / (number of the user's items).
        popularity: float32 [N], users who have the item.
        power: both ends are divided by the popularity to this power.
        num_neighbours: kept per item, ties by row.

    Returns:
        float32 [N, N]; row i holds the items that speak for item i, never i itself.
    """
    num_items = counts.shape[0]
    damping = np.maximum(popularity, 1.0).astype(np.float32) ** np.float32(-power)
    width = min(num_neighbours, num_items)
    step = max(1, BLOCK_CELLS // num_items)
    kept = []
    for start in range(0, num_items, step):
        span = slice(start, min(start + step, num_items))
        walks = counts[span].toarray() * damping[span, None] * damping
        walks[np.arange(len(walks)), np.arange(span.start, span.stop)] = 0.0
        best = np.argpartition(-walks, width - 1, axis=1)[:, :width]
        values = np.take_along_axis(walks, best, axis=1)
        owner = np.repeat(np.arange(len(walks)), width)
        kept.append(sparse.csr_matrix((values.ravel(), (owner, best.ravel())), shape=walks.shape))
    result = sparse.vstack(kept, format="csr")
    result.eliminate_zeros()
    return result
