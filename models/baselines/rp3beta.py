"""RP3beta: a walk of three steps, user to item to user to item, with popular ends held back.

With n_u items a user, n_i users an item, the weight of item j for a user who had item i is

    W[i, j] = sum_u (x_ui / n_i)^alpha (x_uj / n_u)^alpha / n_j^beta

of which the `num_neighbours` largest of every i are kept; scores are X W.

Reference: Paudel et al., "Updatable, accurate, diverse, and scalable recommendations for interactive applications", ACM
TiiS 7(1), 2017, with the exponent alpha of P3alpha (Cooper et al., "Random walks in recommender systems", WWW 2014).
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

__all__ = ["RP3beta", "walk_weights"]


class RP3beta(Baseline):
    """Scores by the walk's weights.

    Attributes:
        num_neighbours: weights kept of every item.
        alpha: exponent of the steps' probabilities.
        beta: exponent of the popularity of the item where the walk ends.
    """

    name = "rp3beta"

    def __init__(self, num_neighbours: int = 100, alpha: float = 1.0, beta: float = 0.5) -> None:
        self.num_neighbours, self.alpha, self.beta = num_neighbours, alpha, beta

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Compute the weights; memory is bounded by CHUNK_ITEMS rows of the item-item matrix and the result."""
        self._interactions = interactions
        self._weights = walk_weights(interactions, self.num_neighbours, self.alpha, self.beta)
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """X W; float32 [B, N]."""
        dense: npt.NDArray[np.float32] = (self._interactions[user_rows] @ self._weights).toarray()
        return dense

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank


def walk_weights(interactions: csr_matrix, num_neighbours: int, alpha: float, beta: float) -> csr_matrix:
    """The matrix W of the module's formula.

    Args:
        interactions: [U, N], values 1.0.
        num_neighbours: kept per item; ties by row.
        alpha: exponent of both steps.
        beta: exponent of the end's popularity.

    Returns:
        float32 [N, N]; row i holds where walks from item i end, never i itself.
    """
    from scipy.sparse import diags, vstack

    per_user, per_item = (np.maximum(np.asarray(interactions.sum(axis=axis)).ravel(), 1.0) for axis in (1, 0))
    to_item = (diags(per_user**-alpha) @ interactions @ diags(per_item**-beta)).tocsr()
    to_user = (interactions @ diags(per_item**-alpha)).T.tocsr()
    chunks = []
    for start in range(0, to_user.shape[0], CHUNK_ITEMS):
        ends = (to_user[start : start + CHUNK_ITEMS] @ to_item).tocsr().astype(np.float32)
        chunks.append(leading(ends, num_neighbours, start))
    return vstack(chunks, format="csr")
