"""Compiled selection of the best entries of a row: one pass with a heap of those kept so far. Imports numba.

Almost every score of a large catalogue loses against the worst one kept, and costs one comparison. Partitioning sorted
keys of whole rows took ten times as long.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["best_columns", "best_listed", "best_stored"]


@numba.njit(nogil=True)  # type: ignore[misc]
def best_columns(scores: NDArray[np.float32], k: int, rank: NDArray[np.int64]) -> NDArray[np.int32]:
    """The k best columns of every row, by descending score and ascending rank: [B, N] -> int32 [B, k]."""
    num_rows, num_columns = scores.shape
    best = np.empty((num_rows, k), np.int32)
    for b in range(num_rows):
        values, heap = scores[b], best[b]
        for column in range(num_columns):
            if column < k:
                heap[column] = column
                if column == k - 1:
                    _order(heap, values, rank)
            elif _is_worse(heap[0], column, values, rank):
                heap[0] = column
                _sink(heap, 0, k, values, rank)
        for size in range(k - 1, 0, -1):  # the worst of the remaining ones goes to the end
            heap[0], heap[size] = heap[size], heap[0]
            _sink(heap, 0, size, values, rank)
    return best


@numba.njit(nogil=True)  # type: ignore[misc]
def best_listed(
    values: NDArray[np.float32], listed: NDArray[np.int32], k: int, rank: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The k best of the columns that are listed, by descending value and ascending rank; the columns ascend.

    Args:
        values: float32 [N].
        listed: int32 [L], distinct columns.
        k: how many, above 0; at most L are returned.
        rank: int32 [N], distinct.
    """
    size = min(k, len(listed))
    heap = listed[:size].copy()
    _order(heap, values, rank)
    for other in listed[size:]:
        if _is_worse(heap[0], other, values, rank):
            heap[0] = other
            _sink(heap, 0, size, values, rank)
    return np.sort(heap)


@numba.njit(nogil=True)  # type: ignore[misc]
def best_stored(
    indptr: NDArray[np.int32], indices: NDArray[np.int32], data: NDArray[np.float32], k: int, first_row: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every sparse row the positions of its k largest positive values off the diagonal, ties by column.

    Args:
        indptr: int32 [rows + 1], of rows first_row, first_row + 1, ... of a square matrix.
        indices: int32 [E], their columns.
        data: [E], their values.
        k: kept per row.
        first_row: of the matrix, of these rows.

    Returns:
        The positions, ascending, and int64 [rows + 1] offsets into them.
    """
    num_rows = len(indptr) - 1
    offsets = np.zeros(num_rows + 1, np.int64)
    kept = np.empty(min(len(data), num_rows * k), np.int64)
    heap = np.empty(k, np.int64)
    for row in range(num_rows):
        size = 0
        for at in range(indptr[row], indptr[row + 1]):
            if data[at] <= 0 or indices[at] == first_row + row:
                continue
            if size < k:
                heap[size] = at
                size += 1
                if size == k:
                    _order(heap, data, indices)
            elif _is_worse(heap[0], at, data, indices):
                heap[0] = at
                _sink(heap, 0, k, data, indices)
        end = offsets[row] + size
        kept[offsets[row] : end] = np.sort(heap[:size])
        offsets[row + 1] = end
    return kept[: offsets[num_rows]], offsets


@numba.njit(nogil=True, inline="always")  # type: ignore[misc]
def _is_worse(one: int, other: int, values: NDArray, rank: NDArray) -> bool:
    is_tie = values[one] == values[other]
    return bool(values[one] < values[other] or (is_tie and rank[one] > rank[other]))


@numba.njit(nogil=True)  # type: ignore[misc]
def _order(heap: NDArray, values: NDArray, rank: NDArray) -> None:
    """Make a heap, the worst first, of entries in any order."""
    for place in range(len(heap) // 2 - 1, -1, -1):
        _sink(heap, place, len(heap), values, rank)


@numba.njit(nogil=True)  # type: ignore[misc]
def _sink(heap: NDArray, place: int, size: int, values: NDArray, rank: NDArray) -> None:
    """Restore the heap, the worst first, below a place whose entry has changed."""
    entry = heap[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _is_worse(heap[child + 1], heap[child], values, rank):
            child += 1
        if not _is_worse(heap[child], entry, values, rank):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = entry
