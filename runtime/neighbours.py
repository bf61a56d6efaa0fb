"""Item-item lists as the server reads them, and the sum over a user's seen items. NumPy alone: the server runs this.

The list of an item holds the items whose scores it contributes to, with a weight each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIST_FILES", "NeighbourLists", "Recency", "neighbour_scores"]

LIST_FILES = ("indptr.npy", "rows.npy", "weights.npy")
# Counting into an array over the catalogue beats sorting what was reached until it is this much larger.
ITEMS_PER_ENTRY = 128


@dataclass(frozen=True)
class NeighbourLists:
    """A list per item, one behind the other.

    Attributes:
        indptr: int64 [N + 1]; the list of item j is at indptr[j] : indptr[j + 1].
        rows: int32 [E], the items that the list contributes to, ascending within a list.
        weights: float32 [E].
    """

    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def load(cls, folder: Path) -> NeighbourLists:
        """Open the files of `folder`, memory-mapped.

        Raises:
            OSError: a file is missing.
        """
        arrays = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in LIST_FILES)
        # Plain views: gathers from np.memmap pay for its subclass checks.
        return cls(*(array.view(np.ndarray) for array in arrays))

    def save(self, folder: Path) -> None:
        """Write indptr.npy, rows.npy and weights.npy into `folder`, created."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: tuple[NDArray, ...] = (self.indptr, self.rows, self.weights)
        for name, array in zip(LIST_FILES, arrays, strict=True):
            np.save(folder / name, array)


@dataclass(frozen=True)
class Recency:
    """How much more the latest items count: an item of age a (0 is the latest) counts 1 + boost * decay^a.

    Attributes:
        boost: 0 where the order of events says nothing.
        decay: per step into the past.
    """

    boost: float = 0.0
    decay: float = 1.0

    def counts(self, rows: NDArray, recent: NDArray) -> NDArray[np.float64]:
        """What each of the user's items counts; an item that is there twice among the recent ones gains twice.

        Args:
            rows: item rows [R], ascending, distinct, the recent ones among them.
            recent: item rows, oldest first.

        Returns:
            float64 [R].
        """
        counts = np.ones(len(rows))
        if self.boost and len(recent):
            gains = self.boost * self.decay ** np.arange(len(recent) - 1, -1, -1)
            np.add.at(counts, np.searchsorted(rows, recent), gains)
        return counts


def neighbour_scores(
    lists: NeighbourLists, seen: NDArray, recent: NDArray, recency: Recency
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The neighbour scores of a user: per item, the sum of weight times count over the lists of the seen items.

    Args:
        lists: the weights.
        seen: int item rows, ascending, distinct.
        recent: int item rows among the seen items, oldest first.
        recency: how much more the recent ones count.

    Returns:
        Item rows int64 [R], ascending, and scores float32 [R]. Summed in float64 in ascending order of the seen items,
        so that the same items give the same score to the last bit.
    """
    starts = lists.indptr[seen]
    counts = lists.indptr[seen + 1] - starts
    total = int(counts.sum())
    if not total:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    entries = np.arange(total) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    reached = lists.rows[entries]
    weights = lists.weights[entries].astype(np.float64)
    if len(recent):
        weights *= np.repeat(recency.counts(seen, recent), counts)
    num_items = len(lists.indptr) - 1
    if num_items <= ITEMS_PER_ENTRY * total:
        is_reached = np.zeros(num_items, bool)
        is_reached[reached] = True
        rows = np.flatnonzero(is_reached)
        return rows, np.bincount(reached, weights, num_items)[rows].astype(np.float32)
    rows, place = np.unique(reached, return_inverse=True)
    return rows.astype(np.int64), np.bincount(place, weights, len(rows)).astype(np.float32)
