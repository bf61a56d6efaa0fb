"""Stream features of the rows of the tables: what was known just before each row's timestamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.stream.features import RATE, SINCE, rate, since, unless_expired
from runtime.stream.windows import ANY, Window, hop_ns
from workflows.core.run import Run
from workflows.stream.counting import KnownEvents
from workflows.stream.features import LiveColumn
from workflows.stream.said import SAID_FILE, Said

__all__ = ["TableStream"]

SECOND = 1_000_000_000


class TableStream:
    """What was known of users and items at any instant.

    Args:
        said: the events.
    """

    def __init__(self, said: Said) -> None:
        self._said = said
        self._rows = {"user": said.user, "item": said.item}
        self._known: dict[tuple[str, str], KnownEvents] = {}

    @classmethod
    def of_run(cls, run: Run) -> TableStream:
        """The events of data/."""
        return cls(Said.read(run.folder("data") / SAID_FILE))

    def of(self, columns: Sequence[LiveColumn], rows: NDArray, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """The columns of users or items at some instants, by name.

        Args:
            columns: all of one key.
            rows: user or item rows [n].
            at: int64 [n], nanoseconds; what came at that very instant is not known yet.

        Returns:
            float64 [n] each, NaN where the latest event is asked for and there is none.
        """
        position = np.searchsorted(self._said.known_at, at)
        return {column.name: self._column(column, rows, position, at) for column in columns}

    def with_base(self, column: LiveColumn) -> LiveColumn:
        """A rate's column with the rate of all train events; any other as it is."""
        feature = column.feature
        if feature.kind != RATE:
            return column
        first, second = (self._total(label) for label in column.labels)
        return LiveColumn(column.key, replace(feature, base=first / second if second else 0.0))

    def _total(self, label: str) -> int:
        return int(np.count_nonzero(self._said.in_train[self._places(label)]))

    def _column(self, column: LiveColumn, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.float64]:
        feature = column.feature
        found = self._value(column, rows, position, at)
        if not feature.ttl_s:
            return found
        return unless_expired(found, feature, self._events(column.key, ANY).latest(rows, position), at)

    def _value(self, column: LiveColumn, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.float64]:
        feature = column.feature
        if feature.kind == SINCE:
            return since(self._events(column.key, feature.label).latest(rows, position), at)
        counted = [self._count(column.key, window, rows, position, at) for window in feature.windows]
        if feature.kind == RATE:
            return rate(counted[0], counted[1], feature.prior, feature.base)
        return counted[0].astype(np.float64)

    def _count(self, key: str, window: Window, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.int64]:
        hop = hop_ns(window)
        lower = (at - window.seconds * SECOND) // hop * hop
        return self._events(key, window.label).count(rows, position, lower)

    def _events(self, key: str, label: str) -> KnownEvents:
        """The events of a label by user or item."""
        if (key, label) not in self._known:
            places = self._places(label)
            self._known[key, label] = KnownEvents(self._rows[key][places], self._said.at[places], places)
        return self._known[key, label]

    def _places(self, label: str) -> NDArray[np.int64]:
        """Places of the events of a label, in their order."""
        if label == ANY:
            return np.arange(len(self._said))
        wanted = np.array([name == label for name in self._said.labels], bool)
        return np.flatnonzero(wanted[self._said.label])
