"""Compiled sums over pairs of items that users have both. Imports numba.

A row of the item-item matrix at a time, straight into its place: SciPy's product holds the matrix three times over on
its way, and 100,000 items with a million users make it gigabytes.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["count_pairs", "sum_pairs"]


@numba.njit(nogil=True)  # type: ignore[misc]
def count_pairs(
    item_indptr: NDArray[np.int32],
    item_users: NDArray[np.int32],
    user_indptr: NDArray[np.int32],
    user_items: NDArray[np.int32],
    first: int,
    lengths: NDArray[np.int64],
) -> None:
    """How many items share a user with each of the items first, first + 1, ..., itself included.

    Args:
        item_indptr: int32 [N + 1], where the users of each item begin.
        item_users: int32 [E], the users of all items.
        user_indptr: int32 [U + 1], where the items of each user begin.
        user_items: int32 [E], the items of all users.
        first: of the items that are counted.
        lengths: int64 [B], filled.
    """
    last = np.full(len(item_indptr) - 1, -1, np.int32)
    for place in range(len(lengths)):
        item, found = first + place, 0
        for entry in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[entry]
            for other in user_items[user_indptr[user] : user_indptr[user + 1]]:
                if last[other] != item:
                    last[other] = item
                    found += 1
        lengths[place] = found


@numba.njit(nogil=True)  # type: ignore[misc]
def sum_pairs(
    item_indptr: NDArray[np.int32],
    item_users: NDArray[np.int32],
    user_indptr: NDArray[np.int32],
    user_items: NDArray[np.int32],
    user_weights: NDArray[np.float32],
    first: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    sums: NDArray[np.float32],
) -> None:
    """Sum the weights of the users whom the items first, first + 1, ... share with each other item.

    Args:
        item_indptr: int32 [N + 1], where the users of each item begin.
        item_users: int32 [E], the users of all items.
        user_indptr: int32 [U + 1], where the items of each user begin.
        user_items: int32 [E], the items of all users.
        user_weights: float32 [U].
        first: of the items.
        indptr: int64 [B + 1], where the row of each begins in `indices` and `sums`, by the lengths of `count_pairs`.
        indices: int32 [E], filled; ascending within a row.
        sums: float32 [E], filled.
    """
    num_items = len(item_indptr) - 1
    last, added = np.full(num_items, -1, np.int32), np.empty(num_items, np.float32)
    for place in range(len(indptr) - 1):
        item, end = first + place, indptr[place]
        for entry in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[entry]
            weight = user_weights[user]
            for other in user_items[user_indptr[user] : user_indptr[user + 1]]:
                if last[other] == item:
                    added[other] += weight
                else:
                    last[other], added[other] = item, weight
                    indices[end] = other
                    end += 1
        indices[indptr[place] : end].sort()
        for entry in range(indptr[place], end):
            sums[entry] = added[indices[entry]]
