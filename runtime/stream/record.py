"""The records of the state as NumPy structures: one a user, one an item; bytes in the store, columns in the fold."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.stream.spec import StreamSpec
from runtime.stream.windows import ring_fields

__all__ = [
    "IN_STOCK",
    "ITEM_BYTES",
    "NOT_SAID",
    "OUT_OF_STOCK",
    "RecordError",
    "item_record",
    "pack_items",
    "pack_users",
    "read_seen",
    "read_users",
    "unpack",
    "user_record",
]

# What an item's record says of its stock; 0, what an empty record holds, is that no event has said anything.
NOT_SAID, OUT_OF_STOCK, IN_STOCK = 0, 1, 2
# Of a user's record, stored: an event id, an interaction.
ID_BYTES, SLOT_BYTES = 8, 24
# Of what a user has seen besides: an item.
ITEM_BYTES = 8
DAMAGED = "a record of the state is damaged: its length is not what it says"
# All fields of a user's record are whole words.
WORD = np.dtype("<u4")


class RecordError(ValueError):
    """A record of the state is damaged; one sentence."""


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


def read_users(values: Sequence[bytes], dtype: np.dtype) -> tuple[NDArray, NDArray]:
    """What a slate needs of users' records, without their event ids.

    Args:
        values: n records; at least one.
        dtype: see `user_record`.

    Returns:
        The fields before the ids [n], and the histories as slots [n, K], the latest first, K as long as the longest and
        zeros behind the shorter ones.

    Raises:
        RecordError: one has another length than what it says of itself.
    """
    size = dtype.fields["event"][1]  # type: ignore[index]
    try:
        numbers = np.frombuffer(b"".join([value[:size] for value in values]), _before_ids(dtype))
    except ValueError as error:
        raise RecordError(DAMAGED) from error
    lengths = [SLOT_BYTES * count for count in numbers["num_history"].tolist()]
    whole = [size + ID_BYTES * ids + slots for ids, slots in zip(numbers["num_ids"].tolist(), lengths, strict=True)]
    if whole != list(map(len, values)):
        raise RecordError(DAMAGED)
    longest = max(lengths)
    found = [value[len(value) - length :].ljust(longest, b"\0") for value, length in zip(values, lengths, strict=True)]
    slots = np.frombuffer(b"".join(found), dtype["slots"].base).reshape(len(values), longest // SLOT_BYTES)
    return numbers, slots


def read_seen(values: Sequence[bytes]) -> NDArray[np.int64]:
    """The items that users have seen besides, one user's behind the other's.

    Raises:
        RecordError: they are no whole numbers.
    """
    if any(len(value) % ITEM_BYTES for value in values):
        raise RecordError(DAMAGED)
    return np.frombuffer(b"".join(values), "<i8")


@functools.cache
def _before_ids(dtype: np.dtype) -> np.dtype:
    names = dtype.names or ()
    return np.dtype([(name, dtype[name]) for name in names[: names.index("event")]])


def pack_users(records: NDArray) -> list[bytes]:
    """Records of users [n] -> n byte strings, without the places that are not in use."""
    is_used = _used(records.dtype, records["num_ids"], records["num_history"])
    packed = records.view(WORD).reshape(is_used.shape)[is_used].tobytes()
    return _cut(packed, WORD.itemsize * is_used.sum(axis=1))


def pack_items(records: NDArray) -> list[bytes]:
    """Records of items [n] -> n byte strings."""
    return _cut(records.tobytes(), np.full(len(records), records.itemsize))


def unpack(values: Sequence[bytes | None], dtype: np.dtype) -> NDArray:
    """Byte strings -> structures [n] that can be written to; None is an empty record.

    Raises:
        RecordError: one has another length than what it says of itself.
    """
    size = dtype.itemsize
    try:
        if "slots" in (dtype.names or ()):
            return _unpack_users(values, dtype)
        return np.frombuffer(bytearray().join([(value or b"").ljust(size, b"\0") for value in values]), dtype)
    except ValueError as error:
        raise RecordError(DAMAGED) from error


def _unpack_users(values: Sequence[bytes | None], dtype: np.dtype) -> NDArray:
    given = [value for value in values if value]
    history, ids = (dtype.fields[name][1] for name in ("num_history", "num_ids"))  # type: ignore[index]
    numbers = np.frombuffer(b"".join([value[history : ids + 2] for value in given]), "<u2").reshape(-1, 2)
    records = np.zeros(len(values), dtype)
    is_used = np.zeros((len(values), dtype.itemsize // WORD.itemsize), bool)
    is_given = slice(None) if len(given) == len(values) else np.fromiter(map(bool, values), bool, len(values))
    is_used[is_given] = _used(dtype, numbers[:, 1], numbers[:, 0])
    records.view(WORD).reshape(is_used.shape)[is_used] = np.frombuffer(b"".join(given), WORD)
    return records


def _used(dtype: np.dtype, num_ids: NDArray, num_history: NDArray) -> NDArray[np.bool_]:
    """Which words of users' records hold something, bool [n, W]."""
    words, size = dtype.itemsize // WORD.itemsize, WORD.itemsize
    ids, slots = (dtype.fields[name][1] // size for name in ("event", "slots"))  # type: ignore[index]
    is_used, place = np.ones((len(num_ids), words), bool), np.arange(words)
    np.less(place[: slots - ids], (ID_BYTES // size * num_ids.astype(np.int64))[:, None], out=is_used[:, ids:slots])
    np.less(
        place[: words - slots], (SLOT_BYTES // size * num_history.astype(np.int64))[:, None], out=is_used[:, slots:]
    )
    return is_used


def _cut(packed: bytes, sizes: NDArray[np.int64]) -> list[bytes]:
    """Byte strings of these sizes that lie one behind the other."""
    ends = np.cumsum(sizes).tolist()
    return [packed[start:end] for start, end in zip([0, *ends], ends, strict=False)]
