"""Items that the config pins to places of the slate: candidates of everybody who may see them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import are_set
from runtime.index.eligible import ELIGIBLE_FILE
from runtime.sources.base import Found, QueriedUser, Source
from runtime.spec import ChainSpec
from runtime.stream.live import now_ns

__all__ = ["Pinned"]


class Pinned(Source):
    """The pinned items of a chain, the one of the first place first."""

    name = "pinned"
    serves_unknown = True
    checks_stock = True

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """Which items may be shown."""
        return (ELIGIBLE_FILE, *super().files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        slates = None if spec.order is None else spec.order.slates
        pins = sorted(slates.pins if slates else (), key=lambda pin: pin.slot)
        self._pinned = np.array([pin.row for pin in pins], np.int64)
        # Of the last ones an int64 may be too short: some write the year 2999 for never.
        self._ends = [pin.until for pin in pins]
        self._keep(self.eligible(folder))

    def stock_changed(self, rows: NDArray[np.int64]) -> None:
        """Which of them may be shown now."""
        assert self.live is not None
        self._keep(self.live.bitmap)

    def _keep(self, bitmap: NDArray[np.uint8]) -> None:
        self._shown = are_set(bitmap, self._pinned)

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """Those that are not blocked and whose pin has not ended, each with the score 0."""
        shown = self._shown
        if any(self._ends):
            now = now_ns()
            shown = shown & np.array([not end or end > now for end in self._ends])
        rows = self._pinned[shown]
        rows = rows[~np.isin(rows, user.blocked)]
        return rows, np.zeros(len(rows), np.float32)
