"""The items that may be shown, in stock as the live state says where it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import BITS, are_set, rows_of
from runtime.spec import ChainSpec
from runtime.step import load_array
from runtime.stream.items import CatalogueKeys, key_files
from runtime.stream.live import AWAY, StockChanges, live_state
from runtime.stream.record import IN_STOCK, NOT_SAID

__all__ = ["ELIGIBLE_FILE", "RULES_FILE", "LiveEligible"]

# Bitmaps as FAISS reads them: what the export may show, and the items that the rules allow, in stock or not.
ELIGIBLE_FILE, RULES_FILE = "eligible.npy", "rules.npy"
NO_ROWS = np.zeros(0, np.int64)


class LiveEligible:
    """The eligible items of a chain whose stock is live; one a source, refreshed before each batch.

    An item may be shown when the rules allow it and its stock, which the later of the export's tables and the item's
    events says, is not out.

    Args:
        folder: a compiled chain.
        spec: its chain.json.

    Attributes:
        bitmap: uint8 [ceil(N / 8)], one bit an item, lowest first; changed in place.
    """

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        assert spec.live is not None
        self._known_at, self._state = spec.live.known_at, live_state(spec.live.stream)
        self._exported, self._rules = load_array(folder / ELIGIBLE_FILE), load_array(folder / RULES_FILE)
        self._catalogue = CatalogueKeys(folder, spec)
        self.bitmap: NDArray[np.uint8] = np.array(self._exported)
        # What the bitmap holds: the stock up to `position` of the state that was opened as the `opened`-th.
        self._position, self._opened, self._wanted = AWAY, 0, AWAY
        # All that is known so far takes longer than any request should.
        self.refresh(self._state.position())

    @staticmethod
    def files(spec: ChainSpec) -> tuple[str, ...]:
        """What it opens."""
        return (ELIGIBLE_FILE, RULES_FILE, *key_files(spec))

    def refresh(self, offset: int) -> NDArray[np.int64]:
        """Take in every event below an offset.

        Args:
            offset: the position of the state that the batch was encoded with; AWAY without one, where the stock is the
                export's.

        Returns:
            The item rows whose bit has changed, distinct, ascending.
        """
        if self._wanted <= offset <= self._position or offset == self._wanted == AWAY:
            self._wanted = offset
            return NO_ROWS
        self._wanted = offset
        changes = self._state.stock_changes(self._position, self._opened, offset) if offset != AWAY else None
        if changes is None:
            self._position = AWAY
            return self._flip(rows_of(self.bitmap ^ self._exported))
        rows, in_stock = self._said(changes)
        self._position, self._opened = changes.position, changes.opened
        if changes.is_whole:
            return self._flip(rows_of(self.bitmap ^ self._whole(rows, in_stock)))
        return self._flip(np.sort(rows[(in_stock & are_set(self._rules, rows)) != are_set(self.bitmap, rows)]))

    def holds(self, rows: NDArray) -> NDArray[np.bool_]:
        """Whether each of the rows may be shown."""
        return are_set(self.bitmap, rows)

    def _said(self, changes: StockChanges) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of items of the catalogue of which events say more than the export knows, and whether in stock."""
        rows = self._catalogue.rows(changes.items).astype(np.int64)
        counts = (rows >= 0) & (changes.stock != NOT_SAID) & (changes.at > self._known_at)
        return rows[counts], changes.stock[counts] == IN_STOCK

    def _whole(self, rows: NDArray[np.int64], in_stock: NDArray[np.bool_]) -> NDArray[np.uint8]:
        bitmap = np.array(self._exported)
        _flip(bitmap, rows[(in_stock & are_set(self._rules, rows)) != are_set(bitmap, rows)])
        return bitmap

    def _flip(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        _flip(self.bitmap, rows)
        return rows


def _flip(bitmap: NDArray[np.uint8], rows: NDArray) -> None:
    """Turn the bits of distinct rows."""
    np.bitwise_xor.at(bitmap, rows >> 3, BITS[rows & 7])
