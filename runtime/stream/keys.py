"""The keys under which the state knows users and items: raw ids, never rows, so that it outlives every export.

A user's key is the id itself. An item's key is one integer: the id, or of text ids their 64-bit hash; export refuses a
catalogue in which two ids have one hash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import hash_bytes

__all__ = ["MAX_ID_BYTES", "event_hashes", "item_keys", "user_keys"]

# LMDB takes keys of up to 511 bytes.
MAX_ID_BYTES = 480
SIGN = np.int64(-1 << 63)
ODD = np.uint64(0x9E3779B97F4A7C15)


def user_keys(users: NDArray) -> list[bytes]:
    """Keys of users.

    Args:
        users: int64 [n], or objects of bytes.

    Returns:
        n byte strings: 8 bytes, high ones first and the sign turned, so that they are ordered as the ids are; or the
        text itself.
    """
    if users.dtype.kind == "O":
        return list(users.tolist())
    packed = (users.astype(np.int64, copy=False) ^ SIGN).astype(">i8").tobytes()
    return [packed[start : start + 8] for start in range(0, len(packed), 8)]


def item_keys(items: NDArray) -> NDArray[np.int64]:
    """Keys of items: int64 [n], or objects of bytes -> int64 [n]."""
    if items.dtype.kind == "O":
        return hash_bytes(items.tolist()).view(np.int64)
    return items.astype(np.int64, copy=False)


def event_hashes(
    event_ids: NDArray[np.object_], items: NDArray[np.int64], at: NDArray[np.int64], label: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """What makes two events of one user the same event; never 0, which is an empty place.

    Args:
        event_ids: objects of bytes [n]; where one is b"", the event is known by what it says.
        items: keys of items, int64 [n].
        at: nanoseconds, int64 [n].
        label: hash of the label and the kind, uint64 [n].

    Returns:
        uint64 [n].
    """
    said = hash_mixed(hash_mixed(items.view(np.uint64), at.view(np.uint64)), label)
    given = event_ids != b""
    if given.any():
        said[given] = hash_bytes(event_ids[given].tolist())
    return np.maximum(said, np.uint64(1))


def hash_mixed(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One hash of two: SplitMix64's output function over both."""
    mixed = first * ODD + second
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
