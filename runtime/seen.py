"""What each known user has already interacted with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.step import load_array

__all__ = ["SEEN_FILES", "SeenItems"]

SEEN_FILES = ("state/seen_indptr.npy", "state/seen_rows.npy")


class SeenItems:
    """Item rows by user row, in compressed sparse rows.

    Args:
        folder: a compiled chain.

    Attributes:
        folder: see Args.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._indptr, self._rows = (load_array(folder / name) for name in SEEN_FILES)

    def of(self, user_row: int) -> NDArray:
        """Item rows that the user has interacted with, int32, ascending; none for an unknown user (-1)."""
        if user_row < 0:
            return self._rows[:0]
        return self._rows[self._indptr[user_row] : self._indptr[user_row + 1]]

    def of_many(self, user_rows: NDArray) -> tuple[NDArray[np.int64], NDArray]:
        """The same of users int [B]: the place of the user and the item row of each interaction, by place, by row."""
        known = np.flatnonzero(user_rows >= 0)
        starts = self._indptr[user_rows[known]]
        counts = self._indptr[user_rows[known] + 1] - starts
        entries = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return np.repeat(known, counts), self._rows[entries]
