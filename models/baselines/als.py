"""Weighted matrix factorisation by alternating least squares, from `implicit`.

Reference: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.baselines.factors import Factorisation, Factors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ALS"]


class ALS(Factorisation):
    """Least squares over all cells of the matrix, those with an event weighing `alpha` times as much.

    Attributes:
        factors: length of the vectors.
        regularization: ridge of both sides.
        alpha: weight of an event, of all other cells 1.
        iterations: passes over both sides.
        seed: of the first factors.
    """

    name = "als"

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        iterations: int = 15,
        seed: int = 1,
    ) -> None:
        self.factors, self.regularization, self.alpha = factors, regularization, alpha
        self.iterations, self.seed = iterations, seed

    def factorise(self, interactions: csr_matrix) -> tuple[Factors, Factors]:
        """Alternate between the two sides."""
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=self.factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            random_state=self.seed,
        )
        model.fit(interactions, show_progress=False)
        return model.user_factors, model.item_factors
