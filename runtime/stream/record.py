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
# Of a user's record, stored: an event id, an interaction.
ID_BYTES, SLOT_BYTES = 8, 24


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
        num_history, num_ids: uint16, places of `slots` and of `event` in use.
        since: int64 [S], where the spec has `since`: the latest instant of an event with each of the labels; 0 none.
        newest, tiles: see `runtime.stream.windows.ring_fields`, of `user_windows`.
        event: uint64 [dedupe_last], hashes of the latest event ids by arrival, the latest first.
        slots: [H] of item (key, int64), at (int64), offset (int64): the latest interactions by (at, offset), the latest
            first.

    Of `event` and `slots` the places that are not in use are not stored.
    """
    slot = np.dtype([("item", "<i8"), ("at", "<i8"), ("offset", "<i8")])
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
            ("event", "<u8", (spec.dedupe_last,)),
            ("slots", slot, (spec.history_length,)),
        ]
    )


def pack_users(records: NDArray) -> list[bytes]:
    """Records of users [n] -> n byte strings, without the places that are not in use."""
    packed, starts = records.tobytes(), np.arange(0, records.nbytes, records.itemsize)
    ids, slots = (records.dtype.fields[name][1] for name in ("event", "slots"))  # type: ignore[index]
    first = starts + ids + ID_BYTES * records["num_ids"].astype(np.int64)
    last = starts + slots + SLOT_BYTES * records["num_history"].astype(np.int64)
    cuts = zip(starts.tolist(), first.tolist(), (starts + slots).tolist(), last.tolist(), strict=True)
    # Where all ids are in use, what follows them lies right behind.
    return [packed[a:d] if b == c else packed[a:b] + packed[c:d] for a, b, c, d in cuts]


def pack_items(records: NDArray) -> list[bytes]:
    """Records of items [n] -> n byte strings."""
    size, packed = records.dtype.itemsize, records.tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def unpack(values: Sequence[bytes | None], dtype: np.dtype) -> NDArray:
    """Byte strings -> structures [n] that can be written to; None is an empty record."""
    size = dtype.itemsize
    if "slots" in (dtype.names or ()):
        values = _spread(values, dtype)
    return np.frombuffer(bytearray().join([(value or b"").ljust(size, b"\0") for value in values]), dtype)


def _spread(values: Sequence[bytes | None], dtype: np.dtype) -> list[bytes]:
    """Records of users with their slots in place."""
    at, slots = (dtype.fields[name][1] for name in ("num_history", "slots"))  # type: ignore[index]
    given = [value or b"\0" * slots for value in values]
    used = np.frombuffer(b"".join([value[at : at + 2] for value in given]), "<u2").astype(np.int64)
    ends = np.fromiter(map(len, given), np.int64, len(given)) - SLOT_BYTES * used
    return [
        value if end == slots else value[:end].ljust(slots, b"\0") + value[end:]
        for value, end in zip(given, ends.tolist(), strict=True)
    ]
