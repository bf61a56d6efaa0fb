"""The strongest entries of every row of a sparse symmetric matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["sparse_rows", "strongest"]


def strongest(
    counts: sparse.csr_matrix, damping: NDArray[np.float32], width: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The largest damped values of every row, itself left out.

    Args:
        counts: float32 [N, N], rows sorted by column, values above 0.
        damping: float32 [N]; the value at (i, j) counts counts[i, j] * damping[i] * damping[j].
        width: K, kept per row.

    Returns:
        Columns int32 [N, K], ascending, -1 padded on the right, and the damped values float32 [N, K], 0 where padded.
    """
    num_items = counts.shape[0]
    columns = np.full((num_items, width), -1, np.int32)
    values = np.zeros((num_items, width), np.float32)
    for item in range(num_items):
        span = slice(counts.indptr[item], counts.indptr[item + 1])
        near, found = counts.indices[span], counts.data[span]
        found = found * damping[near] * damping[item]
        found[near == item] = 0.0
        kept = np.flatnonzero(found > 0)
        if len(kept) > width:
            kept = np.sort(np.argpartition(-found, width - 1)[:width])
        columns[item, : len(kept)], values[item, : len(kept)] = near[kept], found[kept]
    return columns, values


def sparse_rows(columns: NDArray[np.int32], values: NDArray[np.float32]) -> sparse.csr_matrix:
    """Columns int32 [N, K], -1 padded, and their values -> float32 [N, N]; values of 0 are left out."""
    kept = (columns >= 0) & (values != 0)
    indptr = np.append(0, np.cumsum(kept.sum(axis=1)))
    return sparse.csr_matrix((values[kept], columns[kept], indptr), shape=(len(columns), len(columns)))
