"""The items that a query may find, as the bitmap that FAISS reads. NumPy alone: the server runs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["BITS", "Allowed", "are_set", "pack_rows", "rows_of"]

# Bytes looked at together where a whole bitmap is counted.
BLOCK_BYTES = 1 << 16
# Below this share of eligible items, looking at each alone costs less than passing over the others.
LISTED_SHARE = 1 / 16
# By byte: how many of its bits are set; by bit: the byte in which it alone is set.
BIT_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
BITS = (1 << np.arange(8)).astype(np.uint8)


class Allowed:
    """The items that may be shown; for the time of one query, without those that its user must not see.

    The rows of one query are taken out of the one bitmap and put back: copying it would cost N / 8 bytes a query.

    Args:
        eligible: uint8 [ceil(N / 8)], one bit an item, lowest first; copied.
    """

    def __init__(self, eligible: NDArray[np.uint8]) -> None:
        self.bitmap: NDArray[np.uint8] = np.array(eligible)
        self.num_eligible = sum(
            int(np.unpackbits(self.bitmap[start : start + BLOCK_BYTES]).sum())
            for start in range(0, len(self.bitmap), BLOCK_BYTES)
        )
        self._list()
        self._lock = threading.Lock()

    def flip(self, rows: NDArray) -> None:
        """Let items be shown that were not, and the other way round.

        Args:
            rows: distinct item rows, ascending.
        """
        places, bits = pack_rows(rows)
        with self._lock:
            before = self.bitmap[places]
            self.bitmap[places] = after = before ^ bits
            self.num_eligible += int(BIT_COUNTS[after].sum()) - int(BIT_COUNTS[before].sum())
            self._list()

    @contextmanager
    def without(self, rows: NDArray) -> Iterator[int]:
        """Take rows out of `bitmap` until the block ends; one thread at a time.

        Args:
            rows: distinct item rows, ascending.

        Yields:
            How many items are left.
        """
        if not len(rows):
            with self._lock:
                yield self.num_eligible
            return
        places, bits = pack_rows(rows)
        with self._lock:
            before = self.bitmap[places]
            removed = before & bits
            self.bitmap[places] = before ^ removed
            try:
                yield self.num_eligible - int(BIT_COUNTS[removed].sum())
            finally:
                self.bitmap[places] = before

    def _list(self) -> None:
        few = self.num_eligible < LISTED_SHARE * 8 * len(self.bitmap)
        self._eligible_rows = rows_of(self.bitmap) if few else None

    def listed(self) -> NDArray[np.int64] | None:
        """The rows in `bitmap`, ascending, where hardly any item is eligible; None where they are not listed."""
        rows = self._eligible_rows
        return rows if rows is None else rows[self.holds(rows)]

    def holds(self, rows: NDArray) -> NDArray[np.bool_]:
        """Whether each of the rows is in `bitmap`."""
        return are_set(self.bitmap, rows)


def are_set(bitmap: NDArray[np.uint8], rows: NDArray) -> NDArray[np.bool_]:
    """Whether the bit of each row is set; of arrays of a GPU as well."""
    held: NDArray[np.bool_] = (bitmap[rows >> 3] >> (rows & 7) & 1).astype(bool)
    return held


def pack_rows(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Ascending distinct rows -> positions of the bytes that hold them, and the bits inside (lowest bit first)."""
    places, bits = rows >> 3, BITS[rows & 7]
    is_first = np.empty(len(rows), bool)
    is_first[:1] = True
    np.not_equal(places[1:], places[:-1], out=is_first[1:])
    if is_first.all():
        return places, bits
    starts = np.flatnonzero(is_first)
    return places[starts], np.bitwise_or.reduceat(bits, starts)


def rows_of(bitmap: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows whose bit is set, ascending; bytes without any are passed over."""
    places = np.flatnonzero(bitmap)
    bits = np.flatnonzero(np.unpackbits(bitmap[places], bitorder="little"))
    rows: NDArray[np.int64] = (places[bits >> 3] << 3) + (bits & 7)
    return rows
