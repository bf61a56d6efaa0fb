"""The item-item scores of a batch of users on a device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.device.device import Device
from runtime.device.kernels import Kernels
from runtime.device.search import Hidden
from runtime.device.users import Seen
from runtime.index.allowed import are_set
from runtime.neighbours import NeighbourLists

__all__ = ["DeviceNeighbours", "Reached"]

# Entries of the lists that are summed at once; with their keys and weights some 40 bytes each.
MOST_ENTRIES = 1 << 26


class Reached(NamedTuple):
    """Items that the lists of users' items hold, arrays of the device.

    Attributes:
        keys: int64 [R], place of the user times N plus the item's row, ascending.
        scores: float32 [R].
    """

    keys: Any
    scores: Any


class DeviceNeighbours:
    """Item-item lists on a device.

    Args:
        device: what computes.
        kernels: of any shape.
        lists: in the host's memory; copied.
    """

    def __init__(self, device: Device, kernels: Kernels, lists: NeighbourLists) -> None:
        self._device, self._kernels = device, kernels
        self._indptr, self.num_items = lists.indptr, len(lists.indptr) - 1
        self._rows, self._weights = device.put(lists.rows), device.put(lists.weights)

    def scores(self, seen: Seen, counts: NDArray[np.float64]) -> Reached:
        """The sum of weight times count over the lists of the seen items.

        Args:
            seen: of the users of a batch.
            counts: float64 [T], of each of them.

        Returns:
            Every item that they reach. Summed in float64 in the order of the seen items.
        """
        lengths = self._indptr[seen.rows + 1] - self._indptr[seen.rows]
        ends = np.cumsum(lengths)
        parts, start = [], 0
        while start < len(ends):
            # Users are never cut: their items are summed together.
            stop = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + MOST_ENTRIES, "right"))
            stop = max(self._first_of(seen, stop), self._end_of(seen, start))
            part = slice(start, stop)
            parts.append(self._part(Seen(*(array[part] for array in seen)), counts[part], lengths[part]))
            start = stop
        xp = self._device.xp
        if len(parts) == 1:
            return parts[0]
        empty = Reached(xp.zeros(0, np.int64), xp.zeros(0, np.float32))
        return Reached(*(xp.concatenate(arrays) for arrays in zip(*(parts or [empty]), strict=True)))

    def best(self, reached: Reached, bitmap: Any, hidden: Hidden, count: int) -> Any:
        """The best of what users reach.

        Args:
            reached: with scores that are multiples of a step.
            bitmap: uint8, one bit an item that may be shown, lowest first; the device's.
            hidden: what each of the B users must not see.
            count: C.

        Returns:
            Item rows int32 [B, C] with a positive score, best first, ties by row, -1 padded; the device's.
        """
        xp, put = self._device.xp, self._device.put
        num_users = len(hidden.starts) - 1
        if not len(reached.keys):
            return xp.full((num_users, count), -1, np.int32)
        users, rows = xp.divmod(reached.keys, self.num_items)
        shown = are_set(bitmap, rows) & (reached.scores > 0)
        if len(hidden.rows):
            owners = np.repeat(np.arange(num_users), np.diff(hidden.starts))
            keys = put(owners * self.num_items + hidden.rows)
            shown &= keys[xp.minimum(xp.searchsorted(keys, reached.keys), len(keys) - 1)] != reached.keys
        starts = xp.searchsorted(reached.keys, xp.arange(num_users + 1) * self.num_items)
        width = int((starts[1:] - starts[:-1]).max())
        values = xp.full((num_users, width), -np.inf, np.float32)
        values[users, xp.arange(len(users)) - starts[users]] = xp.where(shown, reached.scores, np.float32(-np.inf))
        places = self._kernels.best(values, count)
        found = rows[xp.minimum(starts[:-1, None] + places, len(rows) - 1)]
        return xp.where(places >= 0, found, -1).astype(np.int32)

    @staticmethod
    def _first_of(seen: Seen, place: int) -> int:
        """Where the user at a place begins."""
        return place if place >= len(seen.users) else int(np.searchsorted(seen.users, seen.users[place]))

    @staticmethod
    def _end_of(seen: Seen, place: int) -> int:
        return int(np.searchsorted(seen.users, seen.users[place], "right"))

    def _part(self, seen: Seen, counts: NDArray[np.float64], lengths: NDArray[np.int64]) -> Reached:
        xp, put = self._device.xp, self._device.put
        ends = np.cumsum(lengths)
        total = int(ends[-1])
        place = xp.arange(total)
        owner = xp.searchsorted(put(ends), place, side="right")
        entries = put(self._indptr[seen.rows] - (ends - lengths))[owner] + place
        keys = put(seen.users * self.num_items)[owner] + self._rows[entries]
        values = self._weights[entries].astype(np.float64) * put(counts)[owner]
        # Stable, so that a sum is taken in the order of the seen items.
        order = xp.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        is_first = xp.ones(total, bool)
        is_first[1:] = keys[1:] != keys[:-1]
        starts = xp.flatnonzero(is_first)
        return Reached(keys[starts], self._kernels.segment_sums(values, starts))
