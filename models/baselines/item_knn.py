"""Item-kNN: items like the ones a user had, by cosine of their user columns.

Reference: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001; the shrinkage is
that of Bell and Koren, "Scalable collaborative filtering with jointly derived neighborhood interpolation weights", ICDM
2007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.neighbours import CHUNK_ITEMS, leading
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ItemKNN", "cosine_neighbours"]


class ItemKNN(Baseline):
    """The score of item i for user u is the sum of s(i, j) over those neighbours j of i that row u of the matrix holds.

    Items without a neighbour among them score 0 and follow by popularity, so a user without history gets popular items.

    Attributes:
        num_neighbours: neighbours kept of every item.
        shrinkage: added to the denominator of the cosine: pairs with little evidence weigh less.
    """

    name = "item_knn"

    def __init__(self, num_neighbours: int = 20, shrinkage: float = 0.0) -> None:
        self.num_neighbours = num_neighbours
        self.shrinkage = shrinkage

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Compute the neighbours; memory is bounded by CHUNK_ITEMS rows of the item-item matrix and the result."""
        self._interactions = interactions
        self._votes = cosine_neighbours(interactions, self.num_neighbours, self.shrinkage).T.tocsr()
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Sums of similarities; float32 [B, N]."""
        dense: npt.NDArray[np.float32] = (self._interactions[user_rows] @ self._votes).toarray()
        return dense

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank


def cosine_neighbours(interactions: csr_matrix, num_neighbours: int, shrinkage: float) -> csr_matrix:
    """The most similar items of every item.

    Args:
        interactions: [U, N], values 1.0.
        num_neighbours: kept per item; ties by row.
        shrinkage: s(i, j) = |i and j| / (sqrt(|i| |j|) + shrinkage), |.| counting users.

    Returns:
        float32 [N, N]; row i holds the neighbours of item i, never i itself.
    """
    from scipy.sparse import vstack

    by_item = interactions.T.tocsr()
    norms = np.sqrt(np.asarray(interactions.power(2).sum(axis=0), dtype=np.float64)).ravel()
    chunks = []
    for start in range(0, by_item.shape[0], CHUNK_ITEMS):
        similar = by_item[start : start + CHUNK_ITEMS] @ interactions
        item = np.repeat(np.arange(similar.shape[0]) + start, np.diff(similar.indptr))
        similar.data = (similar.data / (norms[item] * norms[similar.indices] + shrinkage)).astype(np.float32)
        chunks.append(leading(similar, num_neighbours, start))
    return vstack(chunks, format="csr")
