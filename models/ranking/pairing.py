"""Pair features in training: the arrays of one moment and the retriever that gives the score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.data import Batch, State
from models.ranking.config import RankingConfig
from models.ranking.neighbours import Neighbours, fit_neighbours
from models.ranking.pairs import NEIGHBOURS, POPULARITY, RETRIEVAL_SCORE, pair_features, popularity_values
from models.ranking.retriever import Retriever

__all__ = ["PairSource", "choose_pairs"]


def choose_pairs(config: RankingConfig, *, sampled: bool) -> list[str]:
    """Names of the pair features.

    With impressions there is none unless the retrieval score is asked for: popularity and neighbours are counted from
    the same clicks that are the labels, so in training they would tell the answer.

    Args:
        config: whether the retrieval score and the neighbours are wanted.
        sampled: the training rows are sampled ones.
    """
    names = [RETRIEVAL_SCORE] if config.use_retrieval_score == "yes" else []
    if sampled:
        names = [] if config.use_retrieval_score == "no" else [RETRIEVAL_SCORE]
        names += [POPULARITY, *([NEIGHBOURS] if config.neighbours else [])]
    return names


class PairSource:
    """Computes the pair features as of one moment.

    Args:
        names: which, in order.
        state: what was known at the moment; None is enough for "retrieval_score".
        retriever: for "retrieval_score".
        neighbours: for "neighbours".
    """

    def __init__(
        self, names: Sequence[str], state: State | None, retriever: Retriever | None, neighbours: Neighbours | None
    ) -> None:
        self.names = list(names)
        self._state, self._retriever = state, retriever
        self.neighbours = neighbours
        self.popularity = popularity_values(state.popularity) if state is not None else None

    @classmethod
    def at(cls, names: Sequence[str], state: State, retriever: Retriever | None, config: RankingConfig) -> PairSource:
        """The source of one moment, its neighbours fitted on the state's seen items."""
        neighbours = None
        if NEIGHBOURS in names:
            neighbours = fit_neighbours(state, config.neighbours, config.neighbour_l2, config.exact_neighbours_up_to)
        return cls(names, state, retriever, neighbours)

    def compute(
        self, query: Batch, user_row: NDArray, item_rows: NDArray, embedded: NDArray | None = None
    ) -> NDArray[np.float32]:
        """Pair features of given (query, item) rows.

        Args:
            query: query features by name, [G, 1] or [G, L].
            user_row: int [G], whose seen items count for "neighbours".
            item_rows: int [G, M]; -1 is no item.
            embedded: float32 [G, D], the query embeddings where they are known already.

        Returns:
            float32 [G, M, P].
        """
        scores = np.zeros(item_rows.shape, np.float32)
        if RETRIEVAL_SCORE in self.names:
            assert self._retriever is not None
            embedded = self._retriever.embed(query) if embedded is None else embedded
            scores = np.einsum("gd,gmd->gm", embedded, self._retriever.item_embeddings[item_rows], optimize=True)
        state = self._state
        owned = [state.seen(int(user)) for user in user_row] if state is not None and NEIGHBOURS in self.names else []
        lists = (self.neighbours.rows, self.neighbours.weights) if self.neighbours is not None else (None, None)
        return pair_features(self.names, item_rows, scores, owned, self.popularity, *lists)
