"""The strongest entries of every row of a sparse symmetric matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.baselines.selection import best_stored

__all__ = ["sparse_rows", "strongest"]


def strongest(
    counts: sparse.csr_matrix, damping: NDArray[np.float32], width: int, first: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The largest damped values of every row, itself left out; ties by column.

    Args:
        counts: float32 [B, N], rows first, first + 1, ... of a symmetric matrix, sorted by column, values above 0.
        damping: float32 [N]; the value at (i, j) counts counts[i, j] * damping[i] * damping[j].
        width: K, kept per row.
        first: of the rows.

    Returns:
        Columns int32 [B, K], ascending, -1 padded on the right, and the damped values float32 [B, K], 0 where padded.
    """
    num_rows = counts.shape[0]
    columns, values = np.full((num_rows, width), -1, np.int32), np.zeros((num_rows, width), np.float32)
    if not width:
        return columns, values
    own = np.repeat(damping[first : first + num_rows], np.diff(counts.indptr))
    damped = counts.data * damping[counts.indices] * own
    kept, offsets = best_stored(counts.indptr, counts.indices, damped, width, first)
    row = np.repeat(np.arange(num_rows), np.diff(offsets))
    place = np.arange(len(kept)) - offsets[row]
    columns[row, place], values[row, place] = counts.indices[kept], damped[kept]
    return columns, values


def sparse_rows(columns: NDArray[np.int32], values: NDArray[np.float32]) -> sparse.csr_matrix:
    """Columns int32 [N, K], -1 padded, and their values -> float32 [N, N]; values of 0 are left out."""
    kept = (columns >= 0) & (values != 0)
    indptr = np.append(0, np.cumsum(kept.sum(axis=1)))
    return sparse.csr_matrix((values[kept], columns[kept], indptr), shape=(len(columns), len(columns)))
