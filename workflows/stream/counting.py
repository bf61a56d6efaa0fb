"""How many events of a key were known at a position and lie in a window: the training's view of the fold's counts.

The server keeps rings of tiles; a training asks for millions of values at positions all over the log. Both count the
same events, and the export compares them on real rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["KnownEvents"]


class KnownEvents:
    """Events that one window counts, for questions about the past.

    Args:
        key: integers [n], the user or the item of each event.
        at: int64 [n], its instant.
        offset: int64 [n], its position in the log, in any order.
    """

    def __init__(self, key: NDArray, at: NDArray[np.int64], offset: NDArray[np.int64]) -> None:
        order = np.lexsort((offset, key))
        key, at, offset = key[order], at[order], offset[order]
        self._keys, starts = np.unique(key, return_index=True)
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(key))))
        self._latest = _running_max(group, at)
        # What is earlier than an event before it breaks the order by instant; it is kept apart.
        is_late = at < self._latest
        self._all = _Ordered(group, at, offset)
        self._on_time = _Ordered(group[~is_late], at[~is_late], offset[~is_late])
        self._late = _Late(group[is_late], at[is_late], offset[is_late]) if is_late.any() else None

    def count(self, key: NDArray, position: NDArray[np.int64], since: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the events of a key with an offset below a position, at or after an instant.

        Args:
            key: integers [q].
            position: int64 [q].
            since: int64 [q].

        Returns:
            int64 [q].
        """
        group, is_known = self._group(key)
        counted = self._on_time.before(group, position) - self._on_time.earlier(group, since)
        counted = np.maximum(counted, 0)
        if self._late is not None:
            counted += self._late.count(group, position, since)
        return np.where(is_known, counted, 0)

    def latest(self, key: NDArray, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """The latest instant of the events of a key with an offset below a position; int64 [q], 0 where none is."""
        group, is_known = self._group(key)
        place = self._all.before(group, position)
        is_known = is_known & (place > self._all.start(group))
        found = self._latest[np.maximum(place - 1, 0)] if len(self._latest) else np.zeros(len(key), np.int64)
        return np.where(is_known, found, 0)

    def _group(self, key: NDArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if not len(self._keys):
            return np.zeros(len(key), np.int64), np.zeros(len(key), bool)
        group = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        return group, self._keys[group] == key


class _Ordered:
    """Events sorted by (group, offset); of the on-time ones also by (group, instant)."""

    def __init__(self, group: NDArray, at: NDArray, offset: NDArray) -> None:
        self._offsets, self._instants = np.unique(offset), np.unique(at)
        self._width, self._height = len(self._offsets) + 1, len(self._instants) + 1
        self._by_offset = group * self._width + np.searchsorted(self._offsets, offset)
        self._by_instant = group * self._height + np.searchsorted(self._instants, at)

    def start(self, group: NDArray) -> NDArray[np.int64]:
        """Place of the first event of each group."""
        return np.searchsorted(self._by_offset, group * self._width)

    def before(self, group: NDArray, position: NDArray) -> NDArray[np.int64]:
        """Place of the first event of the group that is not below the position."""
        return np.searchsorted(self._by_offset, group * self._width + np.searchsorted(self._offsets, position))

    def earlier(self, group: NDArray, since: NDArray) -> NDArray[np.int64]:
        """Place of the first event of the group that is not before the instant; of on-time events alone."""
        return np.searchsorted(self._by_instant, group * self._height + np.searchsorted(self._instants, since))

    def rank(self, since: NDArray) -> NDArray[np.int64]:
        """Place of an instant among the distinct ones."""
        return np.searchsorted(self._instants, since)


class _Late(_Ordered):
    """Events whose instants are not in the order of their offsets: a merge sort tree over them, level by level."""

    def __init__(self, group: NDArray, at: NDArray, offset: NDArray) -> None:
        super().__init__(group, at, offset)
        self._ranks = self.rank(at)
        self._size = 1 << max(len(at) - 1, 1).bit_length()

    def count(self, group: NDArray, position: NDArray, since: NDArray) -> NDArray[np.int64]:
        """See KnownEvents.count."""
        rank = self.rank(since)
        left, right = self.start(group), self.before(group, position)
        counted = np.zeros(len(group), np.int64)
        for level in range(self._size.bit_length()):
            ordered = self._level(level)
            for take, block in ((left < right) & (left & 1 == 1), left), ((left < right) & (right & 1 == 1), right - 1):
                rows = np.flatnonzero(take)
                counted[rows] += self._in_block(ordered, level, block[rows], rank[rows])
            left, right = (left + 1) >> 1, right >> 1
        return counted

    def _level(self, level: int) -> NDArray[np.int64]:
        """Blocks of 2^level places, each sorted by instant: block and rank in one number, ascending."""
        return np.sort((np.arange(len(self._ranks)) >> level) * self._height + self._ranks)

    def _in_block(self, ordered: NDArray, level: int, block: NDArray, rank: NDArray) -> NDArray[np.int64]:
        """How many of a block are not before the rank."""
        end = np.minimum((block + 1) << level, len(ordered))
        counted: NDArray[np.int64] = end - np.searchsorted(ordered, block * self._height + rank)
        return counted


def _running_max(group: NDArray, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest value so far within each group; int64 [n], groups one behind the other."""
    ranks = np.unique(at, return_inverse=True)
    # Larger groups weigh more than any rank, so that one running maximum never looks back over a group's start.
    running = np.maximum.accumulate(group * (len(ranks[0]) + 1) + ranks[1]) if len(at) else np.zeros(0, np.int64)
    found: NDArray[np.int64] = ranks[0][running - group * (len(ranks[0]) + 1)] if len(at) else at
    return found
