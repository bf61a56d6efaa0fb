"""Local ridge regression: each item explained by the items most often had with it.

The closed form over the whole catalogue (Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019)
inverts an N x N matrix. Explaining each item by its M nearest items alone (the feature selection of Ning and Karypis,
"SLIM: sparse linear methods for top-N recommender systems", ICDM 2011) needs N systems of M equations, gives weights
that are sparse from the start, and was also more accurate on the data of docs/QUALITY.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dataset.blocks import in_threads, spans_of
from models.neighbours.nearest import strongest

__all__ = ["local_ridge"]

BLOCK_CELLS = 4_000_000  # of the systems that one thread holds


def local_ridge(
    counts: sparse.csr_matrix, num_neighbours: int, l2s: Sequence[float]
) -> tuple[NDArray[np.int32], list[NDArray[np.float32]]]:
    """Weights of each item's nearest items, by cosine of co-occurrence, that predict who has it.

    With S the M nearest items of item i, the weights are (G[S, S] + l2 I)^-1 G[S, i].

    Args:
        counts: G, float32 [N, N], symmetric, rows sorted by column.
        num_neighbours: M, at most N - 1 count.
        l2s: a ridge for each result.

    Returns:
        Item rows int32 [N, M], ascending within a row, -1 padded on the right, and for each ridge the weights float32
        [N, M], 0 where padded.
    """
    num_items = counts.shape[0]
    width = min(num_neighbours, num_items - 1)
    norms = np.sqrt(np.maximum(counts.diagonal(), 1e-9)).astype(np.float32)
    rows = np.full((num_items, width), -1, np.int32)
    weights = [np.zeros((num_items, width), np.float32) for _ in l2s]
    diagonal = np.arange(width)

    def solve(span: tuple[int, int]) -> None:
        block = slice(*span)
        near, cosines = strongest(counts[block], 1 / norms, width, span[0])
        rows[block], sides = near, cosines * norms[block, None] * norms[near]
        systems = _systems(counts.indptr, counts.indices, counts.data, near)
        added = 0.0
        for l2, result in zip(l2s, weights, strict=True):
            systems[:, diagonal, diagonal] += np.float32(l2 - added)
            added = l2
            # Padding has a row of its own with the ridge alone, and 0 on the right: its weight is 0.
            result[block] = np.linalg.solve(systems, sides[:, :, None])[:, :, 0]

    if width:
        in_threads(solve, spans_of(num_items, max(1, BLOCK_CELLS // (width * width))))
    return rows, weights


@numba.njit(nogil=True)  # type: ignore[misc]
def _systems(
    indptr: NDArray[np.int32], indices: NDArray[np.int32], data: NDArray[np.float32], rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """G[S, S] for the items S of every row: rows int32 [B, M], -1 padded -> float32 [B, M, M], 0 where padded.

    One pass over the sparse rows of S with a note of where each item stands in S; SciPy's own selection searches for
    each of the M * M entries, which took twenty times as long.
    """
    num_rows, width = rows.shape
    systems = np.zeros((num_rows, width, width), np.float32)
    place = np.full(len(indptr) - 1, -1, np.int32)
    for b in range(num_rows):
        for m in range(width):
            if rows[b, m] >= 0:
                place[rows[b, m]] = m
        for m in range(width):
            item = rows[b, m]
            if item < 0:
                continue
            for entry in range(indptr[item], indptr[item + 1]):
                other = place[indices[entry]]
                if other >= 0:
                    systems[b, m, other] = data[entry]
        for m in range(width):
            if rows[b, m] >= 0:
                place[rows[b, m]] = -1
    return systems
