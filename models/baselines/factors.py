"""What matrix factorisations share: a vector for every user and item, scores by inner product."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Factorisation"]

Factors = npt.NDArray[np.float32]


class Factorisation(Baseline):
    """Inner products of user and item factors.

    A user without an item has no factors worth the name and gets popular items; an item that nobody had comes last.
    """

    @abstractmethod
    def factorise(self, interactions: csr_matrix) -> tuple[Factors, Factors]:
        """Learn the factors of [U, N]: float32 [U, F] and [N, F]."""

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Learn the factors with one BLAS thread: the library brings its own.

        Raises:
            ImportError: `implicit` is not installed.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            users, self._items = self.factorise(interactions)
        self._users = np.where(np.diff(interactions.indptr)[:, None] > 0, users, np.float32(0))
        self._unknown = np.asarray(interactions.sum(axis=0)).ravel() == 0
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Inner products; float32 [B, N]."""
        dense: npt.NDArray[np.float32] = self._users[user_rows] @ self._items.T
        dense[:, self._unknown] = np.finfo(np.float32).min
        return dense

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank
