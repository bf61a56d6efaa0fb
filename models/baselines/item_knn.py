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
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ItemKNN", "cosine_neighbours", "leading"]

CHUNK_ITEMS = 1_000


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
        self._neighbours = cosine_neighbours(interactions, self.num_neighbours, self.shrinkage)
        self._votes = self._neighbours.T.tocsr()
        self._rank = popularity_rank(popularity)

    def with_neighbours(self, num_neighbours: int) -> ItemKNN:
        """The same fitted model with at most as many neighbours an item as it has now."""
        fewer = ItemKNN(num_neighbours, self.shrinkage)
        fewer._interactions, fewer._rank = self._interactions, self._rank
        fewer._neighbours = leading(self._neighbours, num_neighbours)
        fewer._votes = fewer._neighbours.T.tocsr()
        return fewer

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
    from scipy.sparse import csr_matrix, vstack

    by_item = interactions.T.tocsr()
    norms = np.sqrt(np.asarray(interactions.power(2).sum(axis=0), dtype=np.float64)).ravel()
    chunks = []
    for start in range(0, by_item.shape[0], CHUNK_ITEMS):
        together = (by_item[start : start + CHUNK_ITEMS] @ interactions).tocoo()
        item = together.row + start
        keep = together.col != item
        row, column = together.row[keep], together.col[keep]
        value = together.data[keep] / (norms[item[keep]] * norms[column] + shrinkage)
        similar = csr_matrix((value.astype(np.float32), (row, column)), shape=together.shape)
        chunks.append(leading(similar, num_neighbours))
    return vstack(chunks, format="csr")


def leading(matrix: csr_matrix, k: int) -> csr_matrix:
    """The matrix with only the k largest stored values of every row, ties by column."""
    from scipy.sparse import csr_matrix

    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    # Rows are contiguous in `order` as in the matrix, so a position minus its row's start is its place in the row.
    kept = order[np.arange(len(order)) - matrix.indptr[row] < k]
    return csr_matrix((matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape)
