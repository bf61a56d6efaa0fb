"""The records of the state as NumPy structures: one a user, one an item; bytes in the store, columns in the fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.stream.spec import StreamSpec
from runtime.stream.windows import ring_fields

__all__ = ["IN_STOCK", "NOT_SAID", "OUT_OF_STOCK", "item_record", "pack_items", "pack_users", "unpack", "user_record"]

# What an item's record says of its stock; 0, what an empty record holds, is that no event has said anything.
NOT_SAID, OUT_OF_STOCK, IN_STOCK = 0, 1, 2


def item_record(spec: StreamSpec) -> np.dtype:
    """The dtype of an item's record.

    Fields:
        next_offset: int64, one more than the offset of the last event that is in it; events below it are in already.
        at, offset: int64, of the item event that holds.
        stock: uint8, NOT_SAID, OUT_OF_STOCK or IN_STOCK.
        newest, tiles: see `runtime.stream.windows.ring_fields`, of `item_windows`.
    """
    own = [("next_offset", "<i8"), ("at", "<i8"), ("offset", "<i8"), ("stock", "u1")]
    return np.dtype([*own, *ring_fields(spec.item_windows)])


def user_record(spec: StreamSpec) -> np.dtype:
    """The dtype of a user's record.

    Fields:
        next_offset: int64, one more than the offset of the last event that is in it; events below it are in already.
        first_at, last_at: int64, the earliest and latest instant of its events; 0 before the first.
        num_events: uint32, events in it, without those that came twice.
        num_history, num_ids: uint16, places of `slots` in use.
        since: int64 [S], where the spec has `since`: the latest instant of an event with each of the labels; 0 none.
        newest, tiles: see `runtime.stream.windows.ring_fields`, of `user_windows`.
        slots: [max(H, dedupe_last)], the latest first, so that an unused rest is all zero and need not be stored:
            item (key, int64), at (int64), offset (int64): the latest H interactions by (at, offset);
            event (uint64): hashes of the latest event ids, by arrival.
    """
    slot = np.dtype([("item", "<i8"), ("at", "<i8"), ("offset", "<i8"), ("event", "<u8")])
    return np.dtype(
        [
            ("next_offset", "<i8"),
            ("first_at", "<i8"),
            ("last_at", "<i8"),
            ("num_events", "<u4"),
            ("num_history", "<u2"),
            ("num_ids", "<u2"),
            *([("since", "<i8", (len(spec.since),))] if spec.since else []),
            *ring_fields(spec.user_windows),
            ("slots", slot, (max(spec.history_length, spec.dedupe_last),)),
        ]
    )


def pack_users(records: NDArray) -> list[bytes]:
    """Records of users [n] -> n byte strings, without the places that are not in use."""
    size, packed = records.dtype.itemsize, records.tobytes()
    slots = records.dtype["slots"]
    used = np.maximum(records["num_history"], records["num_ids"]).astype(np.int64)
    ends = size - (slots.shape[0] - used) * slots.base.itemsize
    starts = np.arange(0, len(packed), size)
    return [packed[start:stop] for start, stop in zip(starts.tolist(), (starts + ends).tolist(), strict=True)]


def pack_items(records: NDArray) -> list[bytes]:
    """Records of items [n] -> n byte strings."""
    size, packed = records.dtype.itemsize, records.tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def unpack(values: Sequence[bytes | None], dtype: np.dtype) -> NDArray:
    """Byte strings -> structures [n] that can be written to; None is an empty record."""
    size = dtype.itemsize
    joined = bytearray(b"".join([(value or b"").ljust(size, b"\0") for value in values]))
    return np.frombuffer(joined, dtype)
