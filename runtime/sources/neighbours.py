"""The item-item lists: the user's items contribute to the scores of others, the latest more than the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import are_set
from runtime.neighbours import NeighbourLists, Recency, neighbour_scores
from runtime.ranker.pairs import NEIGHBOUR_SCORE
from runtime.sources.base import Found, QueriedUser, Source, unmarked
from runtime.spec import ChainSpec
from runtime.step import load_array

__all__ = ["Neighbours"]

HISTORY_FILE = "state/history.npy"


class Neighbours(Source):
    """Every allowed item that the lists of the user's items hold, ascending, with the sum of its weights."""

    name = "neighbours"
    score_name = NEIGHBOUR_SCORE
    is_sparse = True
    checks_stock = True

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The lists, the eligible items and the stored histories."""
        return ("neighbours", "eligible.npy", HISTORY_FILE, *super().files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        self._lists = NeighbourLists.load(folder / "neighbours")
        self._eligible = self.eligible(folder)
        self._history, self._history_length = load_array(folder / HISTORY_FILE), spec.history_length
        self._recency = Recency(spec.recency_boost, spec.recency_decay)
        self._marks = np.zeros(spec.num_items, bool)

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """The neighbour scores, summed over the user's seen items."""
        recent = self._recent(user.user_row, user.requested)
        reached, sums = neighbour_scores(self._lists, user.seen, recent, self._recency)
        if not len(reached):
            return reached, sums
        kept = are_set(self._eligible, reached) & unmarked(reached, user.blocked, self._marks)
        return reached[kept], sums[kept]

    def _recent(self, user_row: int, requested: NDArray) -> NDArray:
        """The latest items of a user (-1: unknown), oldest first; none where they count as much as any other."""
        if not self._recency.boost:
            return requested[:0]
        stored = self._history[user_row] if user_row >= 0 else requested[:0]
        rows: NDArray = np.concatenate([stored[stored >= 0], requested])
        return rows[-self._history_length :]
