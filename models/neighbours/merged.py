"""The merged retriever for training and for choosing its weights: dense scores over the whole catalogue."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import State
from models.neighbours.counts import recent_matrix, seen_matrix
from models.neighbours.meta import NeighboursMeta
from models.neighbours.weights import score_matrix
from models.retrieval.retriever import Retriever
from runtime.neighbours import NeighbourLists
from workflows.core.run import Run

__all__ = ["MergedRetriever"]


class MergedRetriever:
    """Two towers and item-item weights of one snapshot.

    Args:
        run: whose retrieval and neighbours stages have finished.
        snapshot: "train" or "eval", the fit of both.
        state: what users had as of it.
    """

    def __init__(self, run: Run, snapshot: Literal["train", "eval"], state: State) -> None:
        folder = run.folder("neighbours")
        meta = NeighboursMeta.load(folder)
        self.tower = Retriever.of(run, snapshot)
        self._tower_weight, self._neighbour_weight = meta.tower_weight, meta.neighbour_weight
        self._weights = score_matrix(NeighbourLists.load(folder / snapshot))
        self._counted = seen_matrix(state)
        if meta.recency.boost:
            recent = recent_matrix(np.asarray(state.history), self._counted.shape[1], meta.recency)
            self._counted = (self._counted + recent).tocsr()

    def neighbour_scores(self, user_row: NDArray) -> NDArray[np.float32]:
        """Neighbour scores of the whole catalogue; user_row int [B], -1 has seen nothing; float32 [B, N]."""
        known = user_row >= 0
        scores = np.zeros((len(user_row), self._weights.shape[1]), np.float32)
        if known.any():
            # Many rows of one user are the rule in training.
            users, place = np.unique(user_row[known], return_inverse=True)
            scores[known] = (self._counted[users] @ self._weights).toarray()[place]
        return scores

    def merged_scores(self, embedded: NDArray[np.float32], neighbour: NDArray[np.float32]) -> NDArray[np.float32]:
        """Query embeddings [B, D] and neighbour scores [B, N] -> merged scores float32 [B, N]."""
        towers = embedded @ self.tower.item_embeddings.T
        merged: NDArray[np.float32] = self._tower_weight * towers + self._neighbour_weight * neighbour
        return merged.astype(np.float32)
