"""Popularity within a segment: everyone gets what users like them (of one age group, say) had most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["SegmentPopularity"]


class SegmentPopularity(Baseline):
    """The score of an item is how many users of the user's segment had it; ties by overall popularity.

    Attributes:
        segment: the segment of every user, [U], any values that can be told apart.
    """

    name = "segment_popularity"

    def __init__(self, segment: npt.NDArray) -> None:
        self.segment = segment

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Count the users of every segment that had an item: float32 [segments, N]."""
        from scipy.sparse import csr_matrix

        values, self._code = np.unique(self.segment.astype(str), return_inverse=True)
        ones, users = np.ones(len(self._code), np.float32), np.arange(len(self._code))
        members = csr_matrix((ones, (self._code, users)), shape=(len(values), len(users)))
        self._counts = (members @ interactions).toarray()
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """The counts of each user's segment; float32 [B, N]."""
        counts: npt.NDArray[np.float32] = self._counts[self._code[user_rows]]
        return counts

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank
