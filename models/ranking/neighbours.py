"""Item-item weights behind the pair feature "neighbours": which items speak for or against an item."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.data import State

__all__ = ["Neighbours", "fit_neighbours"]

BLOCK_CELLS = 20_000_000


class Neighbours(msgspec.Struct, frozen=True):
    """The strongest neighbours of every item.

    Attributes:
        rows: int32 [N, K] item rows, -1 padded, ascending so that the order of a sum is fixed.
        weights: float32 [N, K], 0 where padded.
    """

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]


def fit_neighbours(state: State, count: int, l2: float, exact_up_to: int) -> Neighbours:
    """Fit item-item weights on what users have seen.

    Up to `exact_up_to` items: the closed-form ridge regression of each item's column on all the others. With
    G = X'X + l2 I and P = inverse(G), item j speaks for item i with -P[j, i] / P[i, i]. Above: cosine of co-occurrence,
    c_ij / sqrt(c_ii c_jj), which needs no inverse.

    Args:
        state: the user's seen items at one moment.
        count: K, the largest absolute weights kept per item.
        l2: the ridge.
        exact_up_to: N up to which the inverse is taken (N^2 floats, N^3 operations).

    Reference: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """
    seen = _matrix(state)
    num_items = seen.shape[1]
    count = min(count, max(num_items - 1, 1))
    rows = np.full((num_items, count), -1, np.int32)
    weights = np.zeros((num_items, count), np.float32)
    exact = _ridge_weights(seen, l2) if num_items <= exact_up_to else None
    norms = np.sqrt(np.maximum(np.asarray(seen.sum(axis=0)).ravel(), 1.0))
    block = max(1, BLOCK_CELLS // num_items)
    by_item = seen.T.tocsr()
    for start in range(0, num_items, block):
        span = slice(start, min(start + block, num_items))
        if exact is not None:
            dense = exact[:, span].T.copy()
        else:
            dense = (by_item[span] @ seen).toarray() / norms[span, None] / norms[None]
            dense[np.arange(dense.shape[0]), np.arange(span.start, span.stop)] = 0.0
        rows[span], weights[span] = _strongest(dense, count)
    return Neighbours(rows, weights)


def _matrix(state: State) -> sparse.csr_matrix:
    shape = (len(state.seen_indptr) - 1, len(state.popularity))
    ones = np.ones(len(state.seen_rows), np.float32)
    matrix = sparse.csr_matrix((ones, np.asarray(state.seen_rows), np.asarray(state.seen_indptr)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _ridge_weights(seen: sparse.csr_matrix, l2: float) -> NDArray[np.float32]:
    """[N, N]: column i holds the weights of all items on item i; a zero diagonal."""
    gram: NDArray[np.float32] = (seen.T @ seen).toarray().astype(np.float32)
    diagonal = np.diag_indices(len(gram))
    gram[diagonal] += l2
    inverse = np.linalg.inv(gram)
    weights: NDArray[np.float32] = (inverse / -np.diag(inverse)).astype(np.float32)
    weights[diagonal] = 0.0
    return weights


def _strongest(dense: NDArray, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The largest absolute weights of each row; zero weights are no neighbours."""
    picked = np.sort(np.argpartition(-np.abs(dense), min(count, dense.shape[1]) - 1, axis=1)[:, :count], axis=1)
    weights = np.take_along_axis(dense, picked, axis=1).astype(np.float32)
    return np.where(weights != 0, picked, -1).astype(np.int32), weights
