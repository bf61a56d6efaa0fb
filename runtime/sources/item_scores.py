"""Sources whose score of an item is the same for everybody: popularity, what is trending, what is new."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.sources.base import Found, QueriedUser, Scorer, Source, unmarked
from runtime.spec import LIVE_AT, LIVE_OFFSET, POPULARITY, ChainSpec, Tensor
from runtime.step import load_array
from runtime.stream.items import key_files
from runtime.stream.popular import PopularNow

__all__ = ["ItemScores", "Latest", "Popularity", "Trending"]


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
        self._count, self._marks = spec.num_candidates, np.zeros(spec.num_items, bool)
        # Where the stock is live, what is in stock of the first `looked` items of the order.
        self._kept, self._looked = self._order[:0], 0

    def stock_changed(self, rows: NDArray[np.int64]) -> None:
        """The beginning of the order has other items."""
        self._kept, self._looked = self._order[:0], 0

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """The first of the order that are not blocked."""
        order = self._first(self._count + len(user.blocked))
        rows = order[unmarked(order, user.blocked, self._marks)][: self._count]
        return rows, np.asarray(self._scores[rows])

    def _first(self, count: int) -> NDArray:
        """The first items of the order that are in stock."""
        if self.live is None:
            return self._order[:count]
        while len(self._kept) < count and self._looked < len(self._order):
            # Twice as far each time: most may be out of stock.
            more = self._order[self._looked : self._looked + max(count, self._looked)]
            self._kept = np.concatenate([self._kept, more[self.live.holds(more)]])
            self._looked += len(more)
        return self._kept[:count]

    def scorer_files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The scores."""
        return (self.scores_file,)

    def scorer(self, folder: Path, spec: ChainSpec) -> Scorer:
        """The stored scores."""
        scores = load_array(folder / self.scores_file)
        return lambda query, rows: np.asarray(scores[rows])


class Popularity(ItemScores):
    """How often each item was a positive, beside the most popular one.

    For users of whom nothing is known, items that live events have counted lately come first where the chain says so.
    """

    name = "popularity"
    order_file, scores_file = "popular.npy", "popular_scores.npy"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The instant as well, where live events order the items."""
        return (*super().inputs(spec), *((Tensor(LIVE_AT, "INT64"),) if _is_ordered_live(spec) else ()))

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The order, the scores and, where live events order the items, their keys."""
        return (*super().files(spec), *(key_files(spec) if _is_ordered_live(spec) else ()))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        self._now = PopularNow(folder, spec, self._order, self._scores) if _is_ordered_live(spec) else None

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """The first of the order that are not blocked."""
        if self._now is None or batch["path_code"][user.place, 0] != POPULARITY:
            return super().find(user, batch)
        order, scores = self._now.now(int(batch[LIVE_AT][user.place, 0]), int(batch[LIVE_OFFSET][user.place, 0]))
        rows, start, found = order[:0], 0, self._count + len(user.blocked)
        while len(rows) < self._count and start < len(order):
            more = order[start : start + found]
            free = unmarked(more, user.blocked, self._marks)
            rows = np.concatenate([rows, more[free if self.live is None else free & self.live.holds(more)]])
            # Twice as far each time: most may be out of stock.
            start, found = start + len(more), 2 * found
        return rows[: self._count], np.asarray(scores[rows[: self._count]])


def _is_ordered_live(spec: ChainSpec) -> bool:
    return spec.live is not None and spec.live.popular_by is not None


class Trending(ItemScores):
    """The same with counts that halve with every half-life."""

    name = "trending"
    order_file, scores_file = "sources/trending/order.npy", "sources/trending/scores.npy"


class Latest(ItemScores):
    """The newest items first."""

    name = "latest"
    order_file, scores_file = "sources/latest/order.npy", "sources/latest/scores.npy"
