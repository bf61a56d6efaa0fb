"""Users' items as a sparse matrix, and weighted counts of the items that they have in common. Imports SciPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dataset.blocks import in_threads, spans_of
from models.dataset.features import State
from models.neighbours.pairs import count_pairs, sum_pairs
from runtime.neighbours import Recency

__all__ = ["SharedUsers", "recent_matrix", "seen_matrix", "thin"]


def seen_matrix(state: State) -> sparse.csr_matrix:
    """float32 [U, N]: 1 where the user has the item as of this snapshot."""
    shape = (len(state.seen_indptr) - 1, len(state.popularity))
    ones = np.ones(len(state.seen_rows), np.float32)
    matrix = sparse.csr_matrix((ones, np.asarray(state.seen_rows), np.asarray(state.seen_indptr)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def recent_matrix(history: NDArray[np.int32], num_items: int, recency: Recency) -> sparse.csr_matrix:
    """What recent items count beyond 1: boost * decay^age; float32 [B, N].

    Args:
        history: int32 [B, L] item rows, oldest first, padded right with -1.
        num_items: N.
        recency: boost and decay.
    """
    present = history >= 0
    ages = present.sum(axis=1, keepdims=True) - 1 - np.arange(history.shape[1])
    gains = recency.boost * recency.decay ** np.maximum(ages, 0)
    indptr = np.append(0, np.cumsum(present.sum(axis=1)))
    shape = (len(history), num_items)
    matrix = sparse.csr_matrix((gains[present].astype(np.float32), history[present], indptr), shape=shape)
    matrix.sum_duplicates()
    return matrix


def thin(seen: sparse.csr_matrix, max_pairs: int, seed: int) -> sparse.csr_matrix:
    """Cut the longest lists to a random part of them, so that all users together hold at most `max_pairs` item pairs.

    Args:
        seen: [U, N].
        max_pairs: bound of the sum over users of (number of items)^2; one item a user stays in any case.
        seed: of the draws.
    """
    lengths = np.diff(seen.indptr).astype(np.int64)
    if int((lengths**2).sum()) <= max_pairs:
        return seen
    low, high = 1, int(lengths.max())
    while low < high:
        middle = (low + high + 1) // 2
        fits = int((np.minimum(lengths, middle) ** 2).sum()) <= max_pairs
        low, high = (middle, high) if fits else (low, middle - 1)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(seed).random(seen.nnz), owner))
    place = np.arange(seen.nnz) - np.repeat(seen.indptr[:-1], lengths)
    kept = np.sort(order[place < low])
    return sparse.csr_matrix((seen.data[kept], (owner[kept], seen.indices[kept])), shape=seen.shape)


class SharedUsers:
    """Weighted counts of the users whom items share, a block of items at a time.

    Args:
        seen: [U, N], values 1.
        user_weights: float32 [U], above 0.
    """

    def __init__(self, seen: sparse.csr_matrix, user_weights: NDArray[np.float32]) -> None:
        by_item = seen.T.tocsr()
        self.num_items = seen.shape[1]
        self._pairs = by_item.indptr, by_item.indices, seen.indptr, seen.indices
        self._user_weights = np.ascontiguousarray(user_weights, np.float32)

    def rows(self, first: int, stop: int) -> sparse.csr_matrix:
        """Of the items first..stop-1: float32 [stop - first, N], columns ascending."""
        indptr = self._indptr(first, stop)
        indices, sums = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
        sum_pairs(*self._pairs, self._user_weights, first, indptr, indices, sums)
        return sparse.csr_matrix((sums, indices, indptr), shape=(stop - first, self.num_items))

    def all(self) -> sparse.csr_matrix:
        """Of all items: float32 [N, N], symmetric, columns ascending."""
        spans = list(spans_of(self.num_items))
        indptr = np.zeros(self.num_items + 1, np.int64)
        for (start, stop), part in zip(spans, in_threads(lambda span: self._indptr(*span), spans), strict=True):
            indptr[start + 1 : stop + 1] = indptr[start] + part[1:]
        indices, sums = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)

        def fill(span: tuple[int, int]) -> None:
            places = indptr[span[0] : span[1] + 1]
            sum_pairs(*self._pairs, self._user_weights, span[0], places, indices, sums)

        in_threads(fill, spans)
        return sparse.csr_matrix((sums, indices, indptr), shape=(self.num_items, self.num_items))

    def _indptr(self, first: int, stop: int) -> NDArray[np.int64]:
        lengths = np.zeros(stop - first, np.int64)
        count_pairs(*self._pairs, first, lengths)
        return np.append(0, np.cumsum(lengths))
