"""Matrix factorisation by Bayesian personalised ranking, from `implicit`.

Reference: Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.baselines.factors import Factorisation, Factors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["BPR"]


class BPR(Factorisation):
    """An item that the user had is pushed above one drawn at random; one thread, so that a seed gives one answer.

    Attributes:
        factors: length of the vectors.
        learning_rate: of stochastic gradient descent.
        regularization: ridge of both sides.
        iterations: passes over the events.
        seed: of the first factors and the draws.
    """

    name = "bpr"

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 100,
        seed: int = 1,
    ) -> None:
        self.factors, self.learning_rate, self.regularization = factors, learning_rate, regularization
        self.iterations, self.seed = iterations, seed

    def factorise(self, interactions: csr_matrix) -> tuple[Factors, Factors]:
        """Descend along drawn pairs."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=self.factors,
            learning_rate=self.learning_rate,
            regularization=self.regularization,
            iterations=self.iterations,
            num_threads=1,
            random_state=self.seed,
        )
        model.fit(interactions, show_progress=False)
        return model.user_factors, model.item_factors
