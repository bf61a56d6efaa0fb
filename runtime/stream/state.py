"""One batch of events into the state: read the records, fold, write them back with the new position, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import hash_bytes
from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, KINDS, Events
from runtime.stream.fold import NEW, ItemEvents, UserEvents, fold_items, fold_users
from runtime.stream.keys import event_hashes, item_keys, user_keys
from runtime.stream.record import (
    ITEM_BYTES,
    NOT_SAID,
    item_record,
    pack_items,
    pack_users,
    read_seen,
    unpack,
    user_record,
)
from runtime.stream.spec import StreamSpec
from runtime.stream.store import SEEN, USER, Reading, Store, counted_key, item_key, stock_key
from runtime.stream.windows import Window, matches

__all__ = ["apply", "apply_at"]

Writes = dict[bytes, bytes | None]


def apply(store: Store, spec: StreamSpec, events: Events, first_offset: int) -> NDArray[np.int8]:
    """Fold events into a store.

    Args:
        store: whose writer this process is.
        spec: of the stream.
        events: in order of arrival; what the store has already changes nothing.
        first_offset: of the first event; the others follow without a gap.

    Returns:
        int8 [n]: 1 new, 0 known already.

    Raises:
        StoreError: the store cannot be read or written; nothing of the batch is in it then.
    """
    offsets = np.arange(first_offset, first_offset + len(events))
    return apply_at(store, spec, events, offsets, first_offset + len(events))


def apply_at(
    store: Store, spec: StreamSpec, events: Events, offsets: NDArray[np.int64], next_offset: int
) -> NDArray[np.int8]:
    """Fold events into a store whose offsets have gaps, where those of forgotten users were taken out of the log.

    Args:
        store: whose writer this process is.
        spec: of the stream.
        events: in order of arrival; what the store has already changes nothing.
        offsets: int64 [n], ascending, of each event.
        next_offset: events with smaller offsets are in the store then.

    Returns:
        int8 [n]: 1 new, 0 known already.

    Raises:
        StoreError: see `apply`.
    """
    status = np.full(len(events), NEW, np.int8)
    writes: Writes = {}
    with store.read() as reading:
        # A user that is forgotten in between has an empty record for what follows.
        for rows in _between_forgets(events.kind):
            _fold_users(reading, writes, spec, events.take(rows), offsets[rows], status[rows])
        _fold_items(reading, writes, spec, events, offsets, status)
        position = max(reading.position, next_offset)
    store.commit(writes.items(), position)
    return status


def _between_forgets(kind: NDArray[np.uint8]) -> Iterator[slice]:
    """Slices that hold one FORGET or none, as their first event."""
    starts = np.union1d([0], np.flatnonzero(kind == FORGET)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(kind)], strict=True):
        if start < stop:
            yield slice(start, stop)


def _fold_users(
    reading: Reading, writes: Writes, spec: StreamSpec, events: Events, offsets: NDArray, status: NDArray
) -> None:
    """The events of users; `status` is filled in place."""
    if events.kind[0] == FORGET:
        (key,) = user_keys(events.user[:1])
        position = int(offsets[0])
        known = _get(reading, writes, [USER + key])[0]
        forgotten = np.zeros(1, user_record(spec))
        forgotten["next_offset"] = position + 1
        if known is not None and unpack([known], forgotten.dtype)["next_offset"][0] > position:
            status[0] = 0
        else:
            # The record stays, empty but for its offset, so that events from before are not folded in again.
            writes[USER + key], writes[SEEN + key] = pack_users(forgotten)[0], None
    rows = np.flatnonzero(events.kind < ITEM)
    if not len(rows):
        return
    of_users = events.take(rows)
    distinct, record = np.unique(of_users.user, return_inverse=True)
    own_keys = user_keys(distinct)
    keys = [USER + key for key in own_keys]
    records = unpack(_get(reading, writes, keys), user_record(spec))
    items = item_keys(of_users.item)
    kinds = np.array([f"{kind}\0{label}".encode() for label in of_users.labels for kind in KINDS], object)
    said = hash_bytes(kinds.tolist())[of_users.label.astype(np.int64) * len(KINDS) + of_users.kind]
    is_positive = (of_users.kind == INTERACTION) & of_users.has_label(spec.labels) & (of_users.value > 0)
    folded = fold_users(
        records,
        UserEvents(
            record=record,
            offset=offsets[rows],
            at=of_users.at,
            item=items,
            event=event_hashes(of_users.event_id, items, of_users.at, said),
            is_positive=is_positive,
            counts=_matches(spec.user_windows, of_users),
            marks=_matches([Window(label, 0) for label in spec.since], of_users),
        ),
        spec,
    )
    status[rows] = folded.status
    writes.update(zip(keys, pack_users(records), strict=True))
    _add_seen(reading, writes, own_keys, folded.left_record, folded.left_item)


def _add_seen(reading: Reading, writes: Writes, users: Sequence[bytes], place: NDArray, items: NDArray) -> None:
    """Items that left the histories of users: int64, ascending, distinct, one value a user.

    Args:
        reading: where they are.
        writes: where they go.
        users: keys.
        place: int64 [m], whose item it is.
        items: int64 [m], keys.
    """
    if not len(place):
        return
    distinct = np.unique(place)
    keys = [SEEN + users[number] for number in distinct.tolist()]
    before = [value or b"" for value in _get(reading, writes, keys)]
    own = np.repeat(distinct, [len(value) // ITEM_BYTES for value in before])
    place, items = np.concatenate([own, place]), np.concatenate([read_seen(before), items])
    order = np.lexsort((items, place))
    place, items = place[order], items[order]
    is_other = np.ones(len(place), bool)
    is_other[1:] = (place[1:] != place[:-1]) | (items[1:] != items[:-1])
    place, packed = place[is_other], items[is_other].astype("<i8").tobytes()
    ends = 8 * np.append(np.flatnonzero(place[1:] != place[:-1]) + 1, len(place))
    starts = [0, *ends[:-1].tolist()]
    writes.update(zip(keys, [packed[a:b] for a, b in zip(starts, ends.tolist(), strict=True)], strict=True))


def _fold_items(
    reading: Reading, writes: Writes, spec: StreamSpec, events: Events, offsets: NDArray, status: NDArray
) -> None:
    """The events that an item's record keeps: of its stock, and what new events its windows count.

    `status` of the first kind is filled in place.
    """
    of_items = events.kind == ITEM
    counts = _matches(spec.item_windows, events) & (~of_items & (status == NEW))[:, None]
    rows = np.flatnonzero(of_items | counts.any(axis=1))
    if not len(rows):
        return
    distinct, record = np.unique(item_keys(events.item[rows]), return_inverse=True)
    keys = [item_key(item) for item in distinct.tolist()]
    records = unpack(_get(reading, writes, keys), item_record(spec))
    held = np.where(records["stock"] == NOT_SAID, -1, records["offset"])
    before = records["next_offset"].tolist()
    stock = np.where(of_items, events.value, np.float32(np.nan))[rows]
    folded = fold_items(
        records, ItemEvents(record, offsets[rows], events.at[rows], stock, counts[rows]), spec.item_windows
    )
    told = of_items[rows]
    status[rows[told]] = folded[told]
    writes.update(zip(keys, pack_items(records), strict=True))
    holds = np.where(records["stock"] == NOT_SAID, -1, records["offset"])
    for place in np.flatnonzero(holds != held).tolist():
        if held[place] >= 0:
            writes[stock_key(int(held[place]))] = None
        writes[stock_key(int(holds[place]))] = keys[place]
    if spec.item_windows:
        for key, old, new in zip(keys, before, records["next_offset"].tolist(), strict=True):
            if old != new:
                writes[counted_key(old)], writes[counted_key(new)] = None, key


def _matches(windows: Sequence[Window], events: Events) -> NDArray[np.bool_]:
    """Which windows count which events: of those of users, impressions and what has a value above 0; bool [n, K]."""
    if not windows:
        return np.zeros((len(events), 0), bool)
    counted = (events.kind == IMPRESSION) | ((events.kind == INTERACTION) & (events.value > 0))
    found = matches(windows, events.labels, events.kind == IMPRESSION, events.label)
    return np.asarray(found & counted[:, None])


def _get(reading: Reading, writes: Writes, keys: list[bytes]) -> list[bytes | None]:
    """What a key holds after the writes so far."""
    if not writes:
        return reading.get(keys)
    known = iter(reading.get([key for key in keys if key not in writes]))
    return [writes[key] if key in writes else next(known) for key in keys]
