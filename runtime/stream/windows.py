"""Counts over sliding windows, as rings of tiles: small, and the same in whatever order events arrive.

A window of W seconds is 12 hops long. At the instant t it holds the events at or after floor((t - W) / hop) * hop: its
tail moves by whole hops, the same for everybody since 1970, and nothing lies before its head but what is known. A ring
has two tiles more than a window has hops: for the tile that the tail cuts, and for events that are ahead of their
arrival, by less than a hop. An event that is older than the ring is outside of every window that can be asked for.

Reference: sawtooth windows as in Chronon (airbnb/chronon, "Windowed accuracy").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ANY",
    "HOPS",
    "IMPRESSIONS",
    "MIN_SECONDS",
    "TILES",
    "Window",
    "add",
    "hop_ns",
    "matches",
    "oldest_counted",
    "ring_fields",
    "values",
]

HOPS = 12
TILES = HOPS + 2
# Of which 12 hops are whole nanoseconds, and a hop is not shorter than the furthest that an event may be ahead.
MIN_SECONDS = 60
# Names of labels that no column has: every event of a user, and what was shown.
ANY, IMPRESSIONS = "any", "impression"


@dataclass(frozen=True)
class Window:
    """How often something happened lately.

    Attributes:
        label: of the events that count; ANY or IMPRESSIONS too.
        seconds: W, a multiple of MIN_SECONDS.
    """

    label: str
    seconds: int


def hop_ns(window: Window) -> int:
    """A hop in nanoseconds."""
    return window.seconds * 1_000_000_000 // HOPS


def ring_fields(windows: Sequence[Window]) -> list[tuple]:
    """The fields of a record that hold the rings of its windows, K of them; none without windows.

    newest: uint32 [K], the last tile, counted in hops since 1970; 0 before the first event.
    tiles: uint32 [K, TILES], counts; the tile e is at e modulo TILES.
    """
    if not windows:
        return []
    return [("newest", "<u4", (len(windows),)), ("tiles", "<u4", (len(windows), TILES))]


def matches(windows: Sequence[Window], labels: Sequence[str], is_impression: NDArray, label: NDArray) -> NDArray:
    """Which windows count which events.

    Args:
        windows: K of them.
        labels: the names that `label` points to.
        is_impression: bool [n].
        label: integers [n].

    Returns:
        bool [n, K].
    """
    found = np.zeros((len(label), len(windows)), bool)
    for place, window in enumerate(windows):
        if window.label == ANY:
            found[:, place] = True
        elif window.label == IMPRESSIONS:
            found[:, place] = is_impression
        else:
            found[:, place] = ~is_impression & np.array([name == window.label for name in labels], bool)[label]
    return found


def add(
    records: NDArray, windows: Sequence[Window], record: NDArray, at: NDArray[np.int64], counts: NDArray[np.bool_]
) -> None:
    """Count events in the rings of their records.

    Args:
        records: with the fields of `ring_fields`; changed in place.
        windows: K of them.
        record: int64 [n], the place of the event's record.
        at: int64 [n], nanoseconds.
        counts: bool [n, K], which windows count the event.
    """
    for place, window in enumerate(windows):
        rows = np.flatnonzero(counts[:, place])
        if len(rows):
            _add_one(records["newest"][:, place], records["tiles"][:, place], record[rows], at[rows] // hop_ns(window))


def _add_one(newest: NDArray, tiles: NDArray, record: NDArray, epoch: NDArray[np.int64]) -> None:
    """One window: newest uint32 [U], tiles uint32 [U, TILES], views into the records; epoch int64 [n]."""
    touched, inverse = np.unique(record, return_inverse=True)
    before = newest[touched].astype(np.int64)
    after = before.copy()
    np.maximum.at(after, inverse, epoch)
    # What a ring passes over on its way to its new end is empty.
    passed = np.arange(1, TILES + 1) <= (after - before)[:, None]
    users, steps = np.nonzero(passed)
    tiles[touched[users], (after[users] - steps) % TILES] = 0
    newest[touched] = after
    inside = epoch > after[inverse] - TILES
    np.add.at(tiles, (record[inside], epoch[inside] % TILES), 1)


def oldest_counted(windows: Sequence[Window], t: int) -> int:
    """The instant before which an event is in no window that is asked for at t or later, both in nanoseconds.

    Returns:
        The smallest integer without windows.
    """
    tails = [(t - window.seconds * 1_000_000_000) // hop_ns(window) * hop_ns(window) for window in windows]
    return min(tails, default=-(2**63))


def values(newest: NDArray, tiles: NDArray, window: Window, t: NDArray[np.int64]) -> NDArray[np.int64]:
    """The count of a window.

    Args:
        newest: uint32 [n], of the window.
        tiles: uint32 [n, TILES].
        window: it.
        t: int64 [n] or [1], the instant that is asked for, nanoseconds.

    Returns:
        int64 [n].
    """
    last = newest.astype(np.int64)[:, None]
    epoch = last - (last - np.arange(TILES)) % TILES
    lower = ((t - window.seconds * 1_000_000_000) // hop_ns(window))[:, None]
    counted: NDArray[np.int64] = np.where(epoch >= lower, tiles, 0).sum(axis=1, dtype=np.int64)
    return counted
