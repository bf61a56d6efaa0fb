"""The second half of retrieval: the item-item source nominates too, and one score orders what either found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import are_set
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.search import inner_products
from runtime.neighbours import NeighbourLists, Recency, look_up, neighbour_scores
from runtime.spec import ChainSpec
from runtime.step import load_array

__all__ = ["MERGED_STEP", "MERGE_FILES", "Merged", "Merger"]

MERGE_FILES = ("neighbours", "item_embeddings.npy", "eligible.npy", "state/history.npy")
MERGED_STEP = 2.0**-16

# Item rows int64 [K], merged, tower and item-item scores float32 [K]; descending merged score, ties by row.
Merged = tuple[NDArray, NDArray, NDArray, NDArray]


class Merger:
    """The item-item lists and the weights of both scores.

    merged score = tower_weight * <query, item embedding> + neighbour_weight * sum of the weights of what the user has.

    Args:
        folder: a compiled chain.
        spec: its chain.json.
    """

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self._lists = NeighbourLists.load(folder / "neighbours")
        self._embeddings = load_array(folder / "item_embeddings.npy")
        self._eligible = load_array(folder / "eligible.npy")
        self._marked = np.zeros(spec.num_items, bool)
        self._history = load_array(folder / "state/history.npy")
        self._history_length, self._count = spec.history_length, spec.num_candidates
        self._recency = Recency(spec.recency_boost, spec.recency_decay)
        self._weights = spec.tower_weight, spec.neighbour_weight

    def recent(self, user_row: int, requested: NDArray) -> NDArray:
        """The latest items of a user (-1: unknown), oldest first; none where they count as much as any other.

        Args:
            user_row: whose.
            requested: item rows of the request, oldest first; later than the stored ones.
        """
        if not self._recency.boost:
            return requested[:0]
        stored = self._history[user_row] if user_row >= 0 else requested[:0]
        rows: NDArray = np.concatenate([stored[stored >= 0], requested])
        return rows[-self._history_length :]

    def merge(
        self, query: NDArray, found: NDArray, scores: NDArray, owned: NDArray, recent: NDArray, blocked: NDArray
    ) -> Merged:
        """Order the union of both sources' best.

        Args:
            query: float32 [D].
            found: the C item rows that the towers found, in any order, all of them allowed.
            scores: their tower scores.
            owned: distinct item rows that the user has, ascending.
            recent: the latest of them, as `recent` gives them.
            blocked: distinct item rows that must not be shown, ascending.

        Returns:
            C rows or fewer; as many item rows come from the lists at most.
        """
        reached, sums = neighbour_scores(self._lists, owned, recent, self._recency)
        rows, tower = found, scores
        nominated = self._nominated(reached, sums, blocked)
        if len(nominated) and len(new := nominated[~self._among(nominated, found)]):
            rows = np.concatenate([found, new])
            tower = np.concatenate([scores, inner_products(query, self._embeddings, new)])
        neighbour = quantise(look_up(rows, reached, sums), SCORE_STEP)
        merged = quantise(self._weights[0] * tower.astype(np.float64) + self._weights[1] * neighbour, MERGED_STEP)
        best = np.lexsort((rows, -merged))[: self._count]
        return rows[best], merged[best], tower[best], neighbour[best]

    def _among(self, rows: NDArray, others: NDArray) -> NDArray[np.bool_]:
        """Whether each of the rows is among the others."""
        # Marking a few rows for a moment is many times cheaper than searching among them.
        self._marked[others] = True
        among: NDArray[np.bool_] = self._marked[rows]
        self._marked[others] = False
        return among

    def _nominated(self, reached: NDArray, sums: NDArray, blocked: NDArray) -> NDArray:
        """The C allowed items with the highest positive item-item scores, ties by row."""
        if not len(reached):
            return reached
        usable = np.flatnonzero(are_set(self._eligible, reached) & (sums > 0) & ~self._among(reached, blocked))
        if len(usable) <= self._count:
            return reached[usable]
        reached, scores = reached[usable], quantise(sums[usable], SCORE_STEP)
        kept = scores >= np.partition(scores, len(scores) - self._count)[len(scores) - self._count]
        reached, scores = reached[kept], scores[kept]
        nominated: NDArray = reached[np.argsort(-scores, kind="stable")[: self._count]]
        return nominated
