"""Item-kNN over BM25 weights: users with few items, and items with few users, count for more. From `implicit`.

Reference: Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond", 2009; the user column of an
item stands for a document's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["BM25KNN"]


class BM25KNN(Baseline):
    """Items like the ones that a user had.

    Attributes:
        num_neighbours: neighbours kept of every item (the library counts the item itself as one more).
        k1: how fast further evidence stops counting.
        b: how much an item's popularity lowers its weights.
        by_candidate: whether a candidate looks for its own neighbours among the items that the user had, as in
            `ItemKNN`; otherwise those items vote for theirs, as in the library.
    """

    name = "bm25_knn"

    def __init__(self, num_neighbours: int = 20, k1: float = 1.2, b: float = 0.75, by_candidate: bool = False) -> None:
        self.num_neighbours, self.k1, self.b, self.by_candidate = num_neighbours, k1, b, by_candidate

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Weigh the matrix and keep the neighbours.

        Raises:
            ImportError: `implicit` is not installed.
        """
        from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight

        model = ItemItemRecommender(K=self.num_neighbours + 1)
        model.fit(bm25_weight(interactions.T, self.k1, self.b).T.tocsr(), show_progress=False)
        similar = model.similarity.astype(np.float32)
        self._interactions, self._weights = interactions, similar.T.tocsr() if self.by_candidate else similar
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Sums of similarities; float32 [B, N]."""
        dense: npt.NDArray[np.float32] = (self._interactions[user_rows] @ self._weights).toarray()
        return dense

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank
