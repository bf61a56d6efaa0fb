"""Compiled cosines of items: a row of the item-item matrix is counted, and only its largest values leave it.

Imports numba. With 100,000 items and users who have thousands of them nearly every two items share a user, and a
product of sparse matrices writes all of these pairs down before a row is cut to its largest.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from models.baselines.selection import best_listed

__all__ = ["nearest_items"]


@numba.njit(nogil=True)  # type: ignore[misc]
def nearest_items(
    item_indptr: NDArray[np.int32],
    item_users: NDArray[np.int32],
    user_indptr: NDArray[np.int32],
    user_items: NDArray[np.int32],
    norms: NDArray[np.float64],
    shrinkage: float,
    first: int,
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
) -> NDArray[np.int64]:
    """The most similar items of the items first, first + 1, ..., never the item itself; ties by column.

    Args:
        item_indptr: int32 [N + 1], where the users of each item begin.
        item_users: int32 [E], the users of all items.
        user_indptr: int32 [U + 1], where the items of each user begin.
        user_items: int32 [E], the items of all users.
        norms: float64 [N].
        shrinkage: similar(i, j) = users of both / (norms[i] * norms[j] + shrinkage).
        first: of the items.
        columns: int32 [B, k], filled from the left; ascending.
        values: float32 [B, k], filled alike.

    Returns:
        How many of its k places each row fills; int64 [B].
    """
    num_items, (num_rows, k) = len(item_indptr) - 1, columns.shape
    counts, similar = np.zeros(num_items, np.int32), np.empty(num_items, np.float32)
    met = np.empty(num_items, np.int32)
    lengths, by_column = np.zeros(num_rows, np.int64), np.arange(num_items, dtype=np.int32)
    for row in range(num_rows):
        item, num_met = first + row, 0
        counts[item] = 1  # as if met before, so that it is no neighbour of itself
        for entry in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[entry]
            for other in user_items[user_indptr[user] : user_indptr[user + 1]]:
                if not counts[other]:
                    met[num_met] = other
                    num_met += 1
                counts[other] += 1
        for other in met[:num_met]:
            similar[other] = counts[other] / (norms[item] * norms[other] + shrinkage)
            counts[other] = 0
        counts[item] = 0
        kept = best_listed(similar, met[:num_met], k, by_column)
        lengths[row] = len(kept)
        for place in range(len(kept)):
            columns[row, place], values[row, place] = kept[place], similar[kept[place]]
    return lengths
