"""What is popular just now: items by a count of their latest events, then all others by what the export says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.spec import ChainSpec
from runtime.stream.features import LiveFeature
from runtime.stream.item_windows import ItemWindows

__all__ = ["PopularNow"]

# The order is the same for everybody: it is made anew for an instant that is so far from that of the last one.
EVERY_NS = 1_000_000_000


class PopularNow:
    """The order of the popularity path where live events say it.

    Args:
        folder: a compiled chain.
        spec: its chain.json, whose `live` names the count.
        order: int32 [M], the item rows that may be shown, most popular first.
        scores: float32 [N], 0 to 1, how popular each item is by the export.
    """

    def __init__(self, folder: Path, spec: ChainSpec, order: NDArray, scores: NDArray) -> None:
        assert spec.live is not None
        assert spec.live.popular_by is not None
        self._feature: LiveFeature = spec.live.popular_by
        self._windows = ItemWindows(folder, spec)
        self._exported, self._order, self._scores = order, order, scores
        self._static = np.asarray(scores, np.float32)
        self._made_for: int | None = None

    def now(self, at: int, offset: int) -> tuple[NDArray, NDArray[np.float32]]:
        """The order and the scores.

        Args:
            at: the instant that is asked for, nanoseconds.
            offset: the position of the state; AWAY: the export's order.

        Returns:
            Item rows [M], best first, and scores float32 [N]: above one half what has been counted, below it the rest
            by the export's scores.
        """
        if self._made_for is None or abs(at - self._made_for) >= EVERY_NS:
            counts = self._windows.counts(self._feature, at, offset)
            if counts is None:
                return self._exported, self._static
            self._scores = self._blended(counts)
            self._order = self._exported[np.lexsort((self._exported, -self._scores[self._exported]))]
            self._made_for = at
        return self._order, self._scores

    def _blended(self, counts: NDArray[np.float64]) -> NDArray[np.float32]:
        scores = np.float32(0.5) * self._static
        counted = counts > 0
        # Of two that were counted as often, the one that the export has before the other.
        scores[counted] = 0.5 + 0.5 * (counts[counted] + self._static[counted]) / (counts.max(initial=0.0) + 1.0)
        return scores
