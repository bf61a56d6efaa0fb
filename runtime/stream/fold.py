"""The fold: events into records. The server, the replay for training and the backfill all run this one function.

A record does not depend on how its events were cut into batches, and but for the ids that are remembered it does not
depend on their order either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from runtime.stream.record import IN_STOCK, NOT_SAID, OUT_OF_STOCK
from runtime.stream.spec import StreamSpec
from runtime.stream.windows import Window, add

__all__ = ["DUPLICATE", "NEW", "Folded", "ItemEvents", "UserEvents", "fold_items", "fold_users"]

NEW, DUPLICATE = 1, 0


@dataclass(frozen=True)
class UserEvents:
    """Events of the users of some records, in order of arrival.

    Attributes:
        record: int64 [n], the place of the event's user in the records.
        offset: int64 [n], ascending.
        at: int64 [n], nanoseconds.
        item: int64 [n], keys.
        event: uint64 [n], what makes it the same event as another, never 0; see `runtime.stream.keys.event_hashes`.
        is_positive: bool [n], whether it is an interaction.
        counts: bool [n, K], which of the windows count it.
        marks: bool [n, S], of which labels in `since` it is.
    """

    record: NDArray[np.int64]
    offset: NDArray[np.int64]
    at: NDArray[np.int64]
    item: NDArray[np.int64]
    event: NDArray[np.uint64]
    is_positive: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    marks: NDArray[np.bool_]

    def take(self, rows: NDArray) -> UserEvents:
        """Some of the events."""
        return UserEvents(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Folded:
    """What the fold of user events says beside the records.

    Attributes:
        status: int8 [n]: NEW, or DUPLICATE of an event that is in the record.
        left_record, left_item: int64 [m], interactions that left the history of a record: they are seen and no more.
    """

    status: NDArray[np.int8]
    left_record: NDArray[np.int64]
    left_item: NDArray[np.int64]


def fold_users(records: NDArray, events: UserEvents, spec: StreamSpec) -> Folded:
    """Fold events into the records of their users.

    Args:
        records: [U] of `user_record`; changed in place.
        events: of these users, in order of arrival. Those below a record's `next_offset` are in it: no record changes,
            and they count as DUPLICATE.
        spec: of the records.
    """
    status = np.zeros(len(events.record), np.int8)
    # By user, each user's events in their order; NumPy sorts short integers in a time that does not grow with log n.
    order = np.argsort(events.record.astype(np.min_scalar_type(len(records))), kind="stable")
    order = order[events.offset[order] >= records["next_offset"][events.record[order]]]
    fresh = events.take(order)
    is_new = _are_new(records, fresh, spec.dedupe_last)
    status[order[is_new]] = NEW
    _count(records, fresh, is_new)
    kept = fresh if is_new.all() else fresh.take(np.flatnonzero(is_new))
    _remember(records, kept)
    add(records, spec.user_windows, kept.record, kept.at, kept.counts)
    for place in range(len(spec.since)):
        rows = np.flatnonzero(kept.marks[:, place])
        users, starts, _ = _runs(kept.record[rows])
        if len(users):
            latest = np.maximum.reduceat(kept.at[rows], starts)
            records["since"][users, place] = np.maximum(records["since"][users, place], latest)
    positive = kept if kept.is_positive.all() else kept.take(np.flatnonzero(kept.is_positive))
    left = _extend_history(records, positive)
    return Folded(status, *left)


@dataclass(frozen=True)
class ItemEvents:
    """Events of the items of some records, in order of arrival.

    Attributes:
        record: int64 [n], the place of the event's item in the records.
        offset: int64 [n], ascending.
        at: int64 [n], nanoseconds.
        stock: float32 [n]: above 0, 0, or NaN where the event says nothing of it.
        counts: bool [n, K], which of the windows count it.
    """

    record: NDArray[np.int64]
    offset: NDArray[np.int64]
    at: NDArray[np.int64]
    stock: NDArray[np.float32]
    counts: NDArray[np.bool_]


def fold_items(records: NDArray, events: ItemEvents, windows: Sequence[Window]) -> NDArray[np.int8]:
    """Fold events into the records of their items: of two that tell the stock, the later instant holds, then offset.

    Args:
        records: [I] of `item_record`; changed in place.
        events: of these items. Those below a record's `next_offset` are in it.
        windows: K of them.

    Returns:
        int8 [n]: NEW, or DUPLICATE where the record has the event already.
    """
    status: NDArray[np.int8] = (events.offset >= records["next_offset"][events.record]).astype(np.int8)
    fresh = np.flatnonzero(status)
    record, at, offset = events.record[fresh], events.at[fresh], events.offset[fresh]
    add(records, windows, record, at, events.counts[fresh])
    _tell_stock(records, record, at, offset, events.stock[fresh])
    np.maximum.at(records["next_offset"], record, offset + 1)
    return status


def _tell_stock(records: NDArray, record: NDArray, at: NDArray, offset: NDArray, stock: NDArray) -> None:
    rows = np.flatnonzero(~np.isnan(stock))
    # The last one of each item in (at, offset) order.
    rows = rows[np.lexsort((offset[rows], at[rows]))]
    rows = rows[_are_last(record[rows])]
    held = record[rows]
    is_later = (at[rows] > records["at"][held]) | (records["stock"][held] == NOT_SAID)
    is_later |= (at[rows] == records["at"][held]) & (offset[rows] > records["offset"][held])
    rows, held = rows[is_later], held[is_later]
    records["at"][held], records["offset"][held] = at[rows], offset[rows]
    records["stock"][held] = np.where(stock[rows] > 0, IN_STOCK, OUT_OF_STOCK)


def _are_new(records: NDArray, events: UserEvents, dedupe_last: int) -> NDArray[np.bool_]:
    """Whether each event is none of the latest `dedupe_last` of its user; events are sorted by user."""
    is_new = np.ones(len(events.record), bool)
    users, starts, counts = _runs(events.record)
    if not len(users):
        return is_new
    used = int(records["num_ids"][users].max())
    remembered = records["event"][users, :used]  # [u, D]
    place = np.repeat(np.arange(len(users)), counts)
    of_event = remembered if len(users) == len(is_new) else remembered[place]
    odd = (of_event == events.event[:, None]).any(axis=1)
    odd[_twice(events)] = True
    for user in np.unique(place[odd]).tolist():
        start, stop = starts[user], starts[user] + counts[user]
        known = remembered[user][remembered[user] != 0][::-1].tolist()
        is_new[start:stop] = _one_by_one(known, events.event[start:stop].tolist(), dedupe_last)
    return is_new


def _twice(events: UserEvents) -> NDArray[np.int64]:
    """Rows of events that come once more for their user than they came before in the batch."""
    ordered = np.sort(events.event)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.zeros(0, np.int64)
    order = np.lexsort((events.event, events.record))
    same = (np.diff(events.event[order]) == 0) & (np.diff(events.record[order]) == 0)
    return np.asarray(order[1:][same])


def _one_by_one(known: list[int], arriving: list[int], dedupe_last: int) -> list[bool]:
    """Whether each arriving id is none of the latest `dedupe_last` before it; `known` oldest first."""
    sequence, answers = known, []
    # Where an id was accepted last, counted from the beginning.
    last = {event: place for place, event in enumerate(sequence)}
    count = len(sequence)
    for event in arriving:
        new = last.get(event, -1) < count - dedupe_last if event in last else True
        answers.append(new)
        if new:
            last[event] = count
            count += 1
    return answers


def _count(records: NDArray, events: UserEvents, is_new: NDArray[np.bool_]) -> None:
    """Offsets, instants and the number of events; events are sorted by user, each user's by offset."""
    users, starts, counts = _runs(events.record)
    records["next_offset"][users] = events.offset[starts + counts - 1] + 1
    record, at = events.record[is_new], events.at[is_new]
    users, starts, counts = _runs(record)
    if not len(users):
        return
    first, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
    empty = records["num_events"][users] == 0
    records["first_at"][users] = np.where(empty, first, np.minimum(records["first_at"][users], first))
    records["last_at"][users] = np.where(empty, last, np.maximum(records["last_at"][users], last))
    records["num_events"][users] += counts.astype(np.uint32)


def _remember(records: NDArray, events: UserEvents) -> None:
    """Put the ids of new events before those that are remembered; events are sorted by user."""
    places = records["event"][:, :, None]
    users, rows, counts = _latest_of_each(events.record, places.shape[1])
    if not len(users):
        return
    before = records["num_ids"][users].astype(np.int64)
    _prepend(places, users, before, events.event[rows, None], counts)
    records["num_ids"][users] = np.minimum(before + counts, places.shape[1])


def _extend_history(records: NDArray, events: UserEvents) -> tuple[NDArray, NDArray]:
    """Keep the latest H interactions by (at, offset); return those that left, as records and items.

    Args:
        records: changed in place.
        events: interactions, sorted by user, each user's by offset.
    """
    users, starts, counts = _runs(events.record)
    if not len(users):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    newest = np.where(records["num_history"][users] > 0, records["slots"]["at"][users, 0], np.iinfo(np.int64).min)
    before = np.concatenate([[0], events.at[:-1]])
    before[starts] = newest
    is_late = events.at < before
    if not is_late.any():
        return _append(records, events)
    late = np.zeros(len(users), bool)
    late[np.repeat(np.arange(len(users)), counts)[is_late]] = True
    in_order = ~np.repeat(late, counts)
    left = [
        _append(records, events.take(np.flatnonzero(in_order))),
        _merge(records, users[late], events.take(np.flatnonzero(~in_order))),
    ]
    return np.concatenate([record for record, _ in left]), np.concatenate([item for _, item in left])


def _append(records: NDArray, events: UserEvents) -> tuple[NDArray, NDArray]:
    """The usual case: nothing is earlier than what came before it, so that the new ones go in front."""
    every, _, totals = _runs(events.record)
    if not len(every):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = _history(records)
    length = places.shape[1]
    users, rows, counts = _latest_of_each(events.record, length)
    skipped = np.ones(len(events.record), bool)
    skipped[rows] = False
    # Old places that fall off the end.
    num_old = records["num_history"][users].astype(np.int64)
    num_left = np.maximum(num_old + counts - length, 0)
    old_record = np.repeat(users, num_left)
    nth = np.arange(len(old_record)) - np.repeat(np.cumsum(num_left) - num_left, num_left)
    old_item = records["slots"]["item"][old_record, np.repeat(num_old, num_left) - 1 - nth]
    added = np.stack([events.item[rows], events.at[rows], events.offset[rows]], axis=1)
    _prepend(places, users, num_old, added, counts)
    records["num_history"][users] = np.minimum(num_old + totals, length)
    return np.concatenate([events.record[skipped], old_record]), np.concatenate([events.item[skipped], old_item])


def _merge(records: NDArray, users: NDArray, events: UserEvents) -> tuple[NDArray, NDArray]:
    """The case of late events: sort what the users have together with what is new."""
    num_old = records["num_history"][users].astype(np.int64)
    slots = records["slots"][users]
    length = slots.shape[1]
    used = np.arange(length) < num_old[:, None]
    record = np.concatenate([np.repeat(users, num_old), events.record])
    columns = {
        name: np.concatenate([slots[name][used], values])
        for name, values in (("item", events.item), ("at", events.at), ("offset", events.offset))
    }
    order = np.lexsort((-columns["offset"], -columns["at"], record))
    record = record[order]
    found, starts, counts = _runs(record)
    nth = np.arange(len(record)) - np.repeat(starts, counts)
    kept = nth < length
    for name, values in columns.items():
        records["slots"][name][record[kept], nth[kept]] = values[order][kept]
    records["num_history"][found] = np.minimum(counts, length)
    return record[~kept], columns["item"][order][~kept]


def _history(records: NDArray) -> NDArray[np.int64]:
    """The histories of records, item, at and offset as int64 [U, H, 3]; a view."""
    slots = records["slots"]
    return np.asarray(slots.view("<i8").reshape(*slots.shape, 3))


def _runs(record: NDArray) -> tuple[NDArray, NDArray[np.int64], NDArray[np.int64]]:
    """Of ascending values the distinct ones, the row where each begins and how many there are of it."""
    starts = np.flatnonzero(np.append(True, record[1:] != record[:-1])[: len(record)])
    return record[starts], starts, np.diff(np.append(starts, len(record)))


def _latest_of_each(record: NDArray, count: int) -> tuple[NDArray, NDArray, NDArray]:
    """The last `count` events of each user: the users, the rows of the events (ascending), how many each has."""
    users, starts, counts = _runs(record)
    if not len(users) or counts.max() <= count:
        return users, np.arange(len(record)), counts
    from_end = np.repeat(starts + counts, counts) - np.arange(len(record))
    return users, np.flatnonzero(from_end <= count), np.minimum(counts, count)


def _prepend(places: NDArray, users: NDArray, used: NDArray[np.int64], new: NDArray, counts: NDArray[np.int64]) -> None:
    """Put new values before the old ones of some users, the latest first; what no longer fits falls off the end.

    Args:
        places: [U, W, ...]; changed in place.
        users: int64 [u], distinct.
        used: int64 [u], places that hold something.
        new: [sum of counts, ...], the users' values one behind the other, oldest first.
        counts: int64 [u], at most W each.
    """
    ends, width = np.cumsum(counts), places.shape[1]
    for count in np.unique(counts).tolist():
        which = np.flatnonzero(counts == count)
        own = users[which]
        held = min(int(used[which].max()), width - count)
        places[own, count : count + held] = places[own, :held]
        places[own, :count] = new[ends[which, None] - 1 - np.arange(count)]


def _are_last(record: NDArray) -> NDArray[np.bool_]:
    """Whether no later row has the same record."""
    last = np.zeros(len(record), bool)
    _, from_end = np.unique(record[::-1], return_index=True)
    last[len(record) - 1 - from_end] = True
    return last
