"""EASE: every item's column of the matrix is predicted from all the others by ridge regression, in closed form.

With G = X'X + l2 I and P = G^-1, the weights are B[i, j] = -P[i, j] / P[j, j], and 0 on the diagonal; scores are X B.

Reference: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.popularity import popularity_rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["EASE", "ridge_weights"]


class EASE(Baseline):
    """Scores by all item-item ridge weights at once: 2 N^2 float32 while it is fitted, N^2 after, about N^3 operations.

    Attributes:
        l2: the ridge.
    """

    name = "ease"

    def __init__(self, l2: float = 300.0) -> None:
        self.l2 = l2

    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Invert the Gram matrix."""
        self._interactions = interactions
        self._weights = ridge_weights(interactions, self.l2)
        self._rank = popularity_rank(popularity)

    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """X B; float32 [B, N]."""
        dense: npt.NDArray[np.float32] = self._interactions[user_rows] @ self._weights
        return dense

    @property
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """Ties by popularity, then row."""
        return self._rank


def ridge_weights(interactions: csr_matrix, l2: float) -> npt.NDArray[np.float32]:
    """The matrix B of the module's formula; float32 [N, N], column j predicts item j.

    G is symmetric and positive definite, so its inverse comes from the Cholesky factor, in place.
    """
    from scipy.linalg.lapack import spotrf, spotri

    gram = np.asfortranarray((interactions.T @ interactions).toarray(), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    factor, failed = spotrf(gram, lower=0, overwrite_a=1)
    inverse, singular = spotri(factor, lower=0, overwrite_c=1)
    if failed or singular:
        raise ArithmeticError(f"the Gram matrix plus {l2} is not positive definite in float32; use a larger l2")
    upper = np.triu(inverse, 1)
    weights: npt.NDArray[np.float32] = upper + upper.T
    weights /= -np.diag(inverse)
    return weights
