"""Popularity: everyone gets the items with the most positive events that they have not had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Popularity", "popularity_rank"]


def popularity_rank(popularity: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Place of every item by descending count, ties by row; int64 [N]."""
    rank = np.empty(len(popularity), np.int64)
    rank[np.argsort(-popularity, kind="stable")] = np.arange(len(popularity))
    return rank


class Popularity(Baseline):
    """The score of an item is its count, the same for every user (row of the matrix)."""

    name = "popularity"

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Keep the counts."""
        self._popularity = popularity.astype(np.float32)
        self._rank = np.arange(len(popularity), dtype=np.int64)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """The counts, once a user; a read-only view float32 [B, N]."""
        return np.broadcast_to(self._popularity, (len(user_rows), len(self._popularity)))

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by row."""
        return self._rank
