"""The history of each event: the user's earlier interactions, or a seeded draw where nothing is ordered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from workflows.core.disk import open_array
from workflows.tables.states import INTERACTION
from workflows.tables.stream import stream

if TYPE_CHECKING:
    import duckdb

__all__ = ["DrawnHistory", "History", "PastHistory", "write_interactions"]

Array = np.ndarray[Any, Any]


class History(Protocol):
    """Where histories come from."""

    def of(self, users: Array, items: Array, before: Array) -> tuple[Array, Array]:
        """Histories of a batch of events.

        Args:
            users: int64 [n], user rows.
            items: int64 [n], item rows of the events themselves.
            before: int64 [n], how many interactions the user had strictly before the event.

        Returns:
            int64 [total] item rows and int64 [n + 1] offsets into them.
        """
        ...


def write_interactions(con: duckdb.DuckDBPyConnection, path: Path, num_users: int) -> Array:
    """Write every interaction's item row by (user, at, file order) to `path`, int32; return int64 [U + 1] offsets."""
    total = int(con.execute(f"SELECT count(*) FROM events WHERE {INTERACTION}").fetchall()[0][0])
    rows = open_array(path, (total,), np.int32)
    counts = np.zeros(num_users, dtype=np.int64)
    place = 0
    ordered = f"SELECT user_row, item_row FROM events WHERE {INTERACTION} ORDER BY user_row, instant, n"
    for batch in stream(con, ordered):
        users, items = (column.to_numpy() for column in batch.columns)
        rows[place : place + len(items)] = items
        counts += np.bincount(users, minlength=num_users)
        place += len(items)
    rows.flush()
    return np.concatenate([[0], np.cumsum(counts)])


class PastHistory:
    """The latest `length` interactions strictly before the event, oldest first."""

    def __init__(self, interactions: Array, indptr: Array, length: int) -> None:
        self.interactions, self.indptr, self.length = interactions, indptr, length

    def of(self, users: Array, items: Array, before: Array) -> tuple[Array, Array]:
        """As in `History`."""
        counts = np.minimum(before, self.length)
        first = self.indptr[users] + before - counts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - first, counts)
        return self.interactions[places].astype(np.int64), offsets


class DrawnHistory:
    """Up to `length` distinct items of the user's pool in random order, without the event's own if `exclude_own`."""

    def __init__(self, state: Path, length: int, *, exclude_own: bool, seed: int) -> None:
        self.indptr = np.load(state / "seen_indptr.npy")
        self.length, self.exclude_own = length, exclude_own
        self.rng = np.random.default_rng(seed)
        pool = np.load(state / "seen_rows.npy")
        owner = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        self.pool = pool[np.lexsort((self.rng.random(len(pool)), owner))]  # shuffled within each user

    def of(self, users: Array, items: Array, before: Array) -> tuple[Array, Array]:
        """As in `History`; `before` plays no part."""
        size = np.diff(self.indptr)[users][:, None]
        start = (self.rng.random((len(users), 1)) * size).astype(np.int64)
        step = np.arange(self.length + 1)[None, :]
        place = self.indptr[users][:, None] + (start + step) % np.maximum(size, 1)  # a window of the shuffled pool
        drawn = self.pool[np.minimum(place, max(len(self.pool) - 1, 0))] if len(self.pool) else np.zeros_like(place)
        kept = step < size
        if self.exclude_own:
            kept &= drawn != items[:, None]
        kept &= np.cumsum(kept, axis=1) <= self.length
        return drawn[kept].astype(np.int64), np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
