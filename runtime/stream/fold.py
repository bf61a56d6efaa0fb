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
    # By user, each user's events in their order.
    order = np.argsort(events.record, kind="stable")
    order = order[events.offset[order] >= records["next_offset"][events.record[order]]]
    fresh = events.take(order)
    is_new = _are_new(records, fresh, spec.dedupe_last)
    status[order[is_new]] = NEW
    _count(records, fresh, is_new)
    kept = fresh.take(np.flatnonzero(is_new))
    _remember(records, kept, spec.dedupe_last)
    add(records, spec.user_windows, kept.record, kept.at, kept.counts)
    for place in range(len(spec.since)):
        rows = np.flatnonzero(kept.marks[:, place])
        np.maximum.at(records["since"][:, place], kept.record[rows], kept.at[rows])
    left = _extend_history(records, kept.take(np.flatnonzero(kept.is_positive)), spec.history_length)
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
    users, starts = np.unique(events.record, return_index=True)
    if not len(users):
        return is_new
    remembered = records["slots"]["event"][users, :dedupe_last]  # [u, D]
    lengths = np.diff(np.append(starts, len(is_new)))
    place = np.repeat(np.arange(len(users)), lengths)
    odd = (remembered[place] == events.event[:, None]).any(axis=1)
    # Twice in the batch.
    order = np.lexsort((events.event, events.record))
    same = (np.diff(events.event[order]) == 0) & (np.diff(events.record[order]) == 0)
    odd[order[1:][same]] = True
    for user in np.unique(place[odd]).tolist():
        start, stop = starts[user], starts[user] + lengths[user]
        known = remembered[user][remembered[user] != 0][::-1].tolist()
        is_new[start:stop] = _one_by_one(known, events.event[start:stop].tolist(), dedupe_last)
    return is_new


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
    """Offsets, instants and the number of events."""
    np.maximum.at(records["next_offset"], events.record, events.offset + 1)
    record, at = events.record[is_new], events.at[is_new]
    if not len(record):
        return
    users, starts, counts = np.unique(record, return_index=True, return_counts=True)
    first, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
    empty = records["num_events"][users] == 0
    records["first_at"][users] = np.where(empty, first, np.minimum(records["first_at"][users], first))
    records["last_at"][users] = np.where(empty, last, np.maximum(records["last_at"][users], last))
    records["num_events"][users] += counts.astype(np.uint32)


def _remember(records: NDArray, events: UserEvents, dedupe_last: int) -> None:
    """Put the ids of new events before those that are remembered; events are sorted by user."""
    users, rows, counts = _latest_of_each(events.record, dedupe_last)
    if not len(users):
        return
    field = records["slots"]["event"]
    field[users, :dedupe_last] = _prepend(field[users, :dedupe_last], events.event[rows], counts)
    records["num_ids"][users] = np.minimum(records["num_ids"][users] + counts, dedupe_last)


def _extend_history(records: NDArray, events: UserEvents, length: int) -> tuple[NDArray, NDArray]:
    """Keep the latest `length` interactions by (at, offset); return those that left, as records and items.

    Args:
        records: changed in place.
        events: interactions, sorted by user, each user's by offset.
        length: H.
    """
    users, counts = np.unique(events.record, return_counts=True)
    if not len(users):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    newest = np.where(records["num_history"][users] > 0, records["slots"]["at"][users, 0], np.iinfo(np.int64).min)
    before = np.concatenate([[0], events.at[:-1]])
    starts = np.cumsum(counts) - counts
    before[starts] = newest
    late = np.zeros(len(users), bool)
    late[np.repeat(np.arange(len(users)), counts)[events.at < before]] = True
    in_order = ~np.repeat(late, counts)
    left = [_append(records, events.take(np.flatnonzero(in_order)), length)]
    if late.any():
        left.append(_merge(records, users[late], events.take(np.flatnonzero(~in_order)), length))
    return np.concatenate([record for record, _ in left]), np.concatenate([item for _, item in left])


def _append(records: NDArray, events: UserEvents, length: int) -> tuple[NDArray, NDArray]:
    """The usual case: nothing is earlier than what came before it, so that the new ones go in front."""
    every, totals = np.unique(events.record, return_counts=True)
    if not len(every):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    users, rows, counts = _latest_of_each(events.record, length)
    skipped = np.ones(len(events.record), bool)
    skipped[rows] = False
    # Old places that fall off the end.
    num_old = records["num_history"][users].astype(np.int64)
    num_left = np.maximum(num_old + counts - length, 0)
    old_record = np.repeat(users, num_left)
    nth = np.arange(len(old_record)) - np.repeat(np.cumsum(num_left) - num_left, num_left)
    old_item = records["slots"]["item"][old_record, np.repeat(num_old, num_left) - 1 - nth]
    slots = records["slots"]
    for name, values in (("item", events.item), ("at", events.at), ("offset", events.offset)):
        slots[name][users, :length] = _prepend(slots[name][users, :length], values[rows], counts)
    records["num_history"][users] = np.minimum(num_old + totals, length)
    return np.concatenate([events.record[skipped], old_record]), np.concatenate([events.item[skipped], old_item])


def _merge(records: NDArray, users: NDArray, events: UserEvents, length: int) -> tuple[NDArray, NDArray]:
    """The case of late events: sort what the users have together with what is new."""
    num_old = records["num_history"][users].astype(np.int64)
    used = np.arange(length) < num_old[:, None]
    slots = records["slots"][users][:, :length]
    record = np.concatenate([np.repeat(users, num_old), events.record])
    columns = {
        name: np.concatenate([slots[name][used], values])
        for name, values in (("item", events.item), ("at", events.at), ("offset", events.offset))
    }
    order = np.lexsort((-columns["offset"], -columns["at"], record))
    record = record[order]
    found, starts, counts = np.unique(record, return_index=True, return_counts=True)
    nth = np.arange(len(record)) - np.repeat(starts, counts)
    kept = nth < length
    for name, values in columns.items():
        records["slots"][name][record[kept], nth[kept]] = values[order][kept]
    records["num_history"][found] = np.minimum(counts, length)
    return record[~kept], columns["item"][order][~kept]


def _latest_of_each(record: NDArray, count: int) -> tuple[NDArray, NDArray, NDArray]:
    """The last `count` events of each user: the users, the rows of the events (ascending), how many each has."""
    users, starts, counts = np.unique(record, return_index=True, return_counts=True)
    if not len(users) or counts.max() <= count:
        return users, np.arange(len(record)), counts
    from_end = np.repeat(starts + counts, counts) - np.arange(len(record))
    return users, np.flatnonzero(from_end <= count), np.minimum(counts, count)


def _prepend(old: NDArray, new: NDArray, counts: NDArray) -> NDArray:
    """Put each row's new values, oldest first in `new`, before its old ones, the latest first; cut to the old width.

    Args:
        old: [U, W].
        new: [sum of counts], the rows' values one behind the other.
        counts: int64 [U], at most W each.
    """
    width = old.shape[1]
    nth = np.arange(width)
    is_new = nth < counts[:, None]
    shifted = np.take_along_axis(old, np.maximum(nth - counts[:, None], 0), axis=1)
    ends = np.cumsum(counts)
    from_new = new[np.maximum(ends[:, None] - 1 - nth, 0)]
    return np.where(is_new, from_new, shifted)


def _are_last(record: NDArray) -> NDArray[np.bool_]:
    """Whether no later row has the same record."""
    last = np.zeros(len(record), bool)
    _, from_end = np.unique(record[::-1], return_index=True)
    last[len(record) - 1 - from_end] = True
    return last
