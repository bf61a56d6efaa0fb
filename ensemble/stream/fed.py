"""A live state that is fed the events of a run one after the other, so that it can be asked as of any instant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.stream.folder import state_folder
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply
from runtime.stream.store import LmdbStore
from workflows.stream.backfill import TableEvents

__all__ = ["FedState", "at_one_instant"]


class FedState:
    """The server's fold and store, without a log.

    Args:
        spec: of the stream.
        folder: as CASCADE_EVENTS names one; made.
    """

    def __init__(self, spec: StreamSpec, folder: Path) -> None:
        self._spec, self._next_offset = spec, 0
        self._store = LmdbStore(state_folder(folder, spec.state_version), writable=True)

    def feed(self, events: TableEvents, start: int, stop: int, fed: Callable[[int], None] = lambda num: None) -> None:
        """Fold the events from `start` to before `stop`.

        Args:
            events: of a run.
            start: the place of the first.
            stop: behind the last.
            fed: told how many events each batch had.
        """
        for batch in events.batches(start, stop):
            apply(self._store, self._spec, batch, self._next_offset)
            self._next_offset += len(batch)
            fed(len(batch))

    def feed_until(self, events: TableEvents, start: int, instant: int) -> int:
        """Fold the events from `start` on that were known before an instant, nanoseconds; returns where they end."""
        stop = max(int(np.searchsorted(events.known_at, instant)), start)
        self.feed(events, start, stop)
        return stop

    def close(self) -> None:
        """Give the state back."""
        self._store.close()


def at_one_instant(at: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Places in order of time, those of one instant together, at most so many."""
    order = np.argsort(at, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(at[order])) + 1):
        for start in range(0, len(part), most):
            if len(part):
                yield part[start : start + most]
