"""How much of what a user had lately is like a candidate: shares of the history. NumPy alone: the server runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import FIRST
from runtime.ranker.spec import ShareSpec

__all__ = ["HistoryShares"]


class HistoryShares:
    """The shares of a catalogue.

    Args:
        specs: the pair features.
        item_codes: int [N], the code of each item in a history; codes of known items begin at FIRST.
        features: item feature -> codes int [N].
    """

    def __init__(self, specs: Sequence[ShareSpec], item_codes: NDArray, features: Mapping[str, NDArray]) -> None:
        self._specs = list(specs)
        self._values = {spec.name: np.asarray(features[spec.item_input]) for spec in specs}
        # A code in a history -> the item; -1 for padding, null and what is out of vocabulary.
        self._rows = np.full(int(np.max(item_codes, initial=FIRST)) + 1, -1, np.int64)
        known = np.flatnonzero(np.asarray(item_codes) >= FIRST)
        self._rows[np.asarray(item_codes)[known]] = known

    def compute(self, history: NDArray, candidates: NDArray) -> dict[str, NDArray[np.float32]]:
        """The shares by name.

        Args:
            history: int [B, L], codes, oldest first, padded right with 0.
            candidates: int [B, C], item rows; -1 is no item.

        Returns:
            float32 [B, C] each, 0 to 1: of the latest known items, those with the candidate's value; 0 without any.
        """
        rows = np.where(history < len(self._rows), self._rows[np.minimum(history, len(self._rows) - 1)], -1)
        is_known = rows >= 0
        # Counted from the end of each history.
        age = is_known[:, ::-1].cumsum(axis=1)[:, ::-1]
        return {spec.name: self._share(spec, rows, is_known & (age <= spec.last), candidates) for spec in self._specs}

    def _share(
        self, spec: ShareSpec, rows: NDArray, is_looked_at: NDArray[np.bool_], candidates: NDArray
    ) -> NDArray[np.float32]:
        values = self._values[spec.name]
        of_history = np.where(is_looked_at, values[np.maximum(rows, 0)], -1)
        of_candidates = values[np.maximum(candidates, 0)]
        count = _count_each if candidates.shape[1] > rows.shape[1] else _count_all
        total = np.maximum(is_looked_at.sum(axis=1, keepdims=True), 1)
        return np.asarray(count(of_history, of_candidates) / total, np.float32)


def _count_each(of_history: NDArray, of_candidates: NDArray) -> NDArray[np.int64]:
    """How often each candidate's value is in the history: few users with many candidates; -1 is no item."""
    counted = np.zeros(of_candidates.shape, np.int64)
    for row, (history, candidates) in enumerate(zip(of_history, of_candidates, strict=True)):
        known, counts = np.unique(history[history >= 0], return_counts=True)
        if len(known):
            places = np.minimum(np.searchsorted(known, candidates), len(known) - 1)
            counted[row] = np.where(known[places] == candidates, counts[places], 0)
    return counted


def _count_all(of_history: NDArray, of_candidates: NDArray) -> NDArray[np.int64]:
    """The same for many users with few candidates: a column of the history at a time."""
    counted = np.zeros(of_candidates.shape, np.int64)
    for column in np.flatnonzero((of_history >= 0).any(axis=0)):
        counted += of_history[:, column, None] == of_candidates
    return counted
