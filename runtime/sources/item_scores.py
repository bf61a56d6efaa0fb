"""Sources whose score of an item is the same for everybody: popularity, what is trending, what is new."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.sources.base import Found, QueriedUser, Scorer, Source
from runtime.spec import ChainSpec
from runtime.step import load_array

__all__ = ["ItemScores", "Latest", "Popularity", "Trending"]

# How much more of the order is looked at where what is out of stock leaves too few.
GROWTH = 4


class ItemScores(Source):
    """The C best by a stored score that the user may see.

    Args:
        only_unknown: query it for users of whom nothing is known, and for no others.

    Attributes:
        order_file: the eligible item rows, best first; where the stock is live, those that the rules allow.
        scores_file: float32 [N], 0 to 1.
    """

    serves_unknown = True
    checks_stock = True
    order_file: ClassVar[str]
    scores_file: ClassVar[str]

    def __init__(self, only_unknown: bool = False) -> None:
        super().__init__(only_unknown=only_unknown)
        self.only_unknown = only_unknown

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The order and the scores."""
        return (self.order_file, self.scores_file, *super().files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        self._order, self._scores = load_array(folder / self.order_file), load_array(folder / self.scores_file)
        self._count = spec.num_candidates

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """The first of the order that are not blocked, and in stock."""
        rows = self._first(self._count + len(user.blocked), user.blocked)
        return rows, np.asarray(self._scores[rows])

    def _first(self, length: int, blocked: NDArray) -> NDArray:
        """The C first among the first `length` of the order, or of more where too many are out of stock."""
        order = self._order[:length]
        rows = order[~np.isin(order, blocked)]
        if self.live is not None:
            rows = rows[self.live.holds(rows)]
            if len(rows) < self._count and length < len(self._order):
                return self._first(length * GROWTH, blocked)
        return rows[: self._count]

    def scorer_files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The scores."""
        return (self.scores_file,)

    def scorer(self, folder: Path, spec: ChainSpec) -> Scorer:
        """The stored scores."""
        scores = load_array(folder / self.scores_file)
        return lambda query, rows: np.asarray(scores[rows])


class Popularity(ItemScores):
    """How often each item was a positive, beside the most popular one."""

    name = "popularity"
    order_file, scores_file = "popular.npy", "popular_scores.npy"


class Trending(ItemScores):
    """The same with counts that halve with every half-life."""

    name = "trending"
    order_file, scores_file = "sources/trending/order.npy", "sources/trending/scores.npy"


class Latest(ItemScores):
    """The newest items first."""

    name = "latest"
    order_file, scores_file = "sources/latest/order.npy", "sources/latest/scores.npy"
