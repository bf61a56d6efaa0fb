"""Local ridge regression: each item explained by the items most often had with it.

The closed form over the whole catalogue (Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019)
inverts an N x N matrix. Explaining each item by its M nearest items alone (the feature selection of Ning and Karypis,
"SLIM: sparse linear methods for top-N recommender systems", ICDM 2011) needs N systems of M equations, gives weights
that are sparse from the start, and was also more accurate on the data of docs/QUALITY.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["local_ridge"]

DENSE_UP_TO = 12_000  # items: 576 MB of float32
BLOCK_CELLS = 8_000_000


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
        Item rows int32 [N, M], ascending within a row, and for each ridge the weights float32 [N, M].
    """
    num_items = counts.shape[0]
    width = min(num_neighbours, num_items - 1)
    rows = np.zeros((num_items, width), np.int32)
    weights = [np.zeros((num_items, width), np.float32) for _ in l2s]
    if not width:
        return rows, weights
    dense = counts.toarray() if num_items <= DENSE_UP_TO else None
    diagonal = np.arange(width)
    for span, nearest in _nearest(counts, width):
        systems, sides = _systems(counts if dense is None else dense, nearest, span)
        rows[span] = nearest
        added = 0.0
        for l2, result in zip(l2s, weights, strict=True):
            systems[:, diagonal, diagonal] += np.float32(l2 - added)
            added = l2
            result[span] = np.linalg.solve(systems, sides[:, :, None])[:, :, 0]
    return rows, weights


def _nearest(counts: sparse.csr_matrix, width: int) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """Blocks of items with the rows of their nearest items, ascending."""
    num_items = counts.shape[0]
    norms = np.sqrt(np.maximum(counts.diagonal(), 1e-9))
    step = max(1, BLOCK_CELLS // max(num_items, width * width))
    for start in range(0, num_items, step):
        span = slice(start, min(start + step, num_items))
        cosine = counts[span].toarray() / norms
        cosine[np.arange(len(cosine)), np.arange(span.start, span.stop)] = -1.0
        nearest = np.argpartition(-cosine, width - 1, axis=1)[:, :width]
        yield span, np.sort(nearest, axis=1).astype(np.int32)


def _systems(
    counts: NDArray[np.float32] | sparse.csr_matrix, nearest: NDArray[np.int32], span: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """G[S, S] and G[S, i] of every item of a block: float32 [B, M, M] and [B, M]."""
    items = np.arange(span.start, span.stop)[:, None]
    if isinstance(counts, np.ndarray):
        return counts[nearest[:, :, None], nearest[:, None, :]], counts[nearest, items]
    size, width = nearest.shape
    left = np.repeat(nearest, width, axis=1).ravel()
    right = np.tile(nearest, (1, width)).ravel()
    systems = np.asarray(counts[left, right], np.float32).reshape(size, width, width)
    sides = np.asarray(counts[nearest.ravel(), np.repeat(items, width)], np.float32).reshape(size, width)
    return systems, sides
