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
        """Compute the neighbours; of the item-item matrix a row a thread is held, and the result."""
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
    from scipy.sparse import csr_matrix

    from models.baselines.cosines import nearest_items
    from models.dataset.blocks import in_threads, spans_of

    num_items = interactions.shape[1]
    by_item = interactions.T.tocsr()
    pairs = by_item.indptr, by_item.indices, interactions.indptr, interactions.indices
    norms = np.sqrt(np.asarray(interactions.power(2).sum(axis=0), dtype=np.float64)).ravel()
    columns = np.empty((num_items, min(num_neighbours, num_items)), np.int32)
    values = np.empty(columns.shape, np.float32)

    def fill(span: tuple[int, int]) -> npt.NDArray[np.int64]:
        block = slice(*span)
        found: npt.NDArray[np.int64] = nearest_items(
            *pairs, norms, float(shrinkage), span[0], columns[block], values[block]
        )
        return found

    lengths = np.concatenate(in_threads(fill, spans_of(num_items)))
    kept = np.arange(columns.shape[1]) < lengths[:, None]
    indptr = np.append(0, np.cumsum(lengths))
    return csr_matrix((values[kept], columns[kept], indptr), shape=(num_items, num_items))
