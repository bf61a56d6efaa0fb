"""The live state as the chain reads it: users' records, and what has changed of items.

A chain never waits for it and never fails for want of it: where there is no state, nothing is live.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.stream.folder import FOLDER_VARIABLE, state_folder
from runtime.stream.homes import Home, LmdbHome, Nowhere, RedisHome
from runtime.stream.record import ITEM_BYTES, RecordError, item_record, read_seen, read_users, unpack, user_record
from runtime.stream.redis_url import STORE_VARIABLE
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ALWAYS, COUNTED, ITEM, SEEN, STOCK, USER, Reading, StoreError

__all__ = [
    "AWAY",
    "CountChanges",
    "LiveState",
    "LiveUsers",
    "StockChanges",
    "at_instant",
    "events_in",
    "live_state",
    "now_ns",
    "without_live_state",
]

# What a position is where there is no state, and an age where a user has no event.
AWAY = -1
# How long an answer to how fresh the state is holds.
FRESH_FOR_S = 1.0
NONE = np.zeros(0, np.int64)

Result = TypeVar("Result")
_states: dict[tuple[str, str], LiveState] = {}
_events: ContextVar[str | None] = ContextVar("events", default=None)
_instant: ContextVar[int | None] = ContextVar("instant", default=None)


@dataclass(frozen=True)
class LiveUsers:
    """What the state knows of B users.

    Attributes:
        position: events with smaller offsets are in it.
        log_id: of the log that they are offsets of.
        last_at: int64 [B], nanoseconds; 0 for a user without events.
        place: int64 [U], which of the users have a history.
        items: int64 [U, K], keys of their interactions, oldest first.
        at, offset: int64 [U, K], of these.
        is_item: bool [U, K], false where a history is shorter; those places come first.
        seen_place, seen_items: int64 [S], users in order and keys of the items that left their histories.
        known: int64 [V], which of the users have a record.
        records: [V], theirs: the fields of `user_record` before the event ids.
        away: int64 [A], users of whom nothing can be known now: their records are on a node that is away.
        is_stale: whether the state is further behind than the stream allows.
    """

    position: int
    log_id: str
    last_at: NDArray[np.int64]
    place: NDArray[np.int64]
    items: NDArray[np.int64]
    at: NDArray[np.int64]
    offset: NDArray[np.int64]
    is_item: NDArray[np.bool_]
    seen_place: NDArray[np.int64]
    seen_items: NDArray[np.int64]
    known: NDArray[np.int64]
    records: NDArray
    away: NDArray[np.int64]
    is_stale: bool


@dataclass(frozen=True)
class CountChanges:
    """The items whose windows have counted something since a position.

    Attributes:
        position: events with smaller offsets are in it.
        opened: which state it is: one that is opened anew may be another.
        is_whole: whether it is all that the state says, and not only what is new.
        items: int64 [n], keys.
        records: [n] of `item_record`.
    """

    position: int
    opened: int
    is_whole: bool
    items: NDArray[np.int64]
    records: NDArray


@dataclass(frozen=True)
class StockChanges:
    """The items whose stock has changed since a position.

    Attributes:
        position: events with smaller offsets are in it.
        opened: which state it is: one that is opened anew may be another.
        is_whole: whether it is all that the state says, and not only what is new.
        items, at, stock: int64, int64 and uint8 [n]: the item's key, the instant since which it holds, and
            `runtime.stream.record.IN_STOCK` or another of these.
    """

    position: int
    opened: int
    is_whole: bool
    items: NDArray[np.int64]
    at: NDArray[np.int64]
    stock: NDArray[np.uint8]


class LiveState:
    """The state of one stream.

    Args:
        home: where it is.
        spec: of the stream.
        events: the EVENTS folder on this machine that it belongs to.

    Attributes:
        events: see Args.
    """

    def __init__(self, home: Home, spec: StreamSpec, events: Path | None = None) -> None:
        self._home, self._spec, self.events = home, spec, events
        self._users, self._items = user_record(spec), item_record(replace(spec, item_windows=()))
        self._counted_items = item_record(spec)
        self._fresh_at, self._asked_at = ALWAYS, -np.inf
        # The sources of a process ask for the same changes one after the other.
        self._changes: tuple[tuple[int, int], StockChanges] | None = None

    @property
    def log_id(self) -> str:
        """Of the log that positions are offsets of; "" before it was read."""
        return self._home.log_id

    def position(self) -> int:
        """Events with smaller offsets are in the state; AWAY where there is none."""
        found = self._ask(lambda reading: reading.position)
        return AWAY if found is None else found

    def users(self, keys: Sequence[bytes]) -> LiveUsers | None:
        """What is known of some users now.

        Args:
            keys: as `runtime.stream.keys.user_keys` makes them; b"" for a user that no event can have.

        Returns:
            None where there is no state.
        """
        return self._ask(lambda reading: self._read(reading, keys))

    def stock_changes(self, since: int, opened: int, until: int) -> StockChanges | None:
        """The items whose stock has changed.

        Args:
            since: the position up to which the caller knows the stock; AWAY: it knows nothing.
            opened: of what it knows.
            until: the position that it wants to know.

        Returns:
            What has changed, or all where the state is another than the one that was opened; None where there is none.
        """
        if self._changes is not None and self._changes[0] == (since, opened):
            known = self._changes[1]
            if known.opened == self._home.opened and known.position >= until:
                return known
        changes = self._ask(lambda reading: self._scan(reading, since, opened))
        self._changes = None if changes is None else ((since, opened), changes)
        return changes

    def count_changes(self, since: int, opened: int) -> CountChanges | None:
        """The items whose windows have counted something.

        Args:
            since: the position up to which the caller knows them; AWAY: it knows nothing.
            opened: of what it knows.

        Returns:
            What has changed, or all where the state is another than the one that was opened; None where there is none.
        """
        return self._ask(lambda reading: self._counted(reading, since, opened))

    def is_stale(self) -> bool:
        """Whether the state is further behind what comes in than the stream allows; an answer may be a second old."""
        if not self._home.is_remote:
            return False
        if time.monotonic() - self._asked_at > FRESH_FOR_S:
            self._ask(lambda reading: reading.position)
        return self._is_behind()

    def _is_behind(self) -> bool:
        return time.time_ns() - self._fresh_at > self._spec.max_staleness_s * 1e9

    def _ask(self, question: Callable[[Reading], Result]) -> Result | None:
        try:
            store = self._home.current()
            if store is None:
                return None
            with store.read() as reading:
                answer = question(reading)
                self._fresh_at, self._asked_at = reading.fresh_at, time.monotonic()
                return answer
        except StoreError:
            self._home.failed()
            return None
        except RecordError:
            return None

    def _read(self, reading: Reading, keys: Sequence[bytes]) -> LiveUsers:
        wanted = [USER + key for key in keys]
        # On its way to a store, a question takes the longest part of the time.
        together = [*wanted, *(SEEN + key for key in keys)] if self._home.is_remote else wanted
        found, lost = reading.found(together)
        values, all_seen = found[: len(keys)], found[len(keys) :]
        away = np.unique(np.array(lost, np.int64) % max(len(keys), 1)) if lost else NONE
        self._fresh_at = reading.fresh_at
        known = [place for place, value in enumerate(values) if value is not None]
        last_at = np.zeros(len(keys), np.int64)
        if not known:
            none, row = np.zeros((0, 0), np.int64), NONE
            empty = np.zeros(0, self._users)
            none_are = none.astype(bool)
            return LiveUsers(
                *(reading.position, self._home.log_id, last_at, row, none, none, none, none_are, row, row, row, empty),
                away=away,
                is_stale=self._is_behind(),
            )
        records, slots = read_users([value for value in values if value is not None], self._users)
        last_at[known] = records["last_at"]
        counts = records["num_history"]
        # Only a full history has ever left anything behind.
        length = self._spec.history_length
        full = [place for place, count in zip(known, counts.tolist(), strict=True) if count == length]
        seen_place = seen_items = NONE
        if full:
            seen = [all_seen[place] for place in full] if all_seen else reading.get([SEEN + keys[at] for at in full])
            left = [value or b"" for value in seen]
            seen_place = np.repeat(np.array(full, np.int64), [len(value) // ITEM_BYTES for value in left])
            seen_items = read_seen(left)
        slots = slots[:, ::-1]
        places = np.array(known)
        return LiveUsers(
            position=reading.position,
            log_id=self._home.log_id,
            last_at=last_at,
            place=places,
            items=slots["item"],
            at=slots["at"],
            offset=slots["offset"],
            is_item=np.arange(slots.shape[1], 0, -1) <= counts[:, None],
            seen_place=seen_place,
            seen_items=seen_items,
            known=places,
            records=records,
            away=away,
            is_stale=self._is_behind(),
        )

    def _scan(self, reading: Reading, since: int, opened: int) -> StockChanges:
        position, is_whole = self._changes_of(reading, since, opened)
        keys = reading.changed(STOCK, None if is_whole else since)
        # What an item's record says of its stock comes before all else.
        records = unpack([(value or b"")[: self._items.itemsize] for value in reading.get(keys)], self._items)
        return StockChanges(position, self._home.opened, is_whole, _items(keys), records["at"], records["stock"])

    def _counted(self, reading: Reading, since: int, opened: int) -> CountChanges:
        position, is_whole = self._changes_of(reading, since, opened)
        keys = reading.changed(COUNTED, None if is_whole else since)
        records = unpack(reading.get(keys), self._counted_items)
        return CountChanges(position, self._home.opened, is_whole, _items(keys), records)

    def _changes_of(self, reading: Reading, since: int, opened: int) -> tuple[int, bool]:
        """The position, and whether someone who knows the state up to another one must be told all."""
        position = reading.position
        return position, since == AWAY or opened != self._home.opened or position < since


def _items(keys: Sequence[bytes]) -> NDArray[np.int64]:
    """Items of the keys of their records."""
    # The sign is turned in a key, so that keys are ordered as the ids are.
    packed = np.frombuffer(b"".join(key[len(ITEM) :] for key in keys), ">u8") ^ np.uint64(1 << 63)
    return packed.astype(np.uint64).view(np.int64)


def live_state(spec: StreamSpec) -> LiveState:
    """The state of a stream in the store that CASCADE_STORE names, else in the folder that CASCADE_EVENTS names.

    One a process, whoever asks.

    Raises:
        StoreError: the name of the store cannot be read.
    """
    named = _events.get()
    url = os.environ.get(STORE_VARIABLE, "") if named is None else ""
    if url:
        found = _states.get((url, spec.state_version))
        return found or _states.setdefault((url, spec.state_version), LiveState(RedisHome(url, spec), spec))
    events = os.environ.get(FOLDER_VARIABLE, "") if named is None else named
    if not events:
        return LiveState(Nowhere(), spec)
    import lmdb  # noqa: F401 - a server without it must not load a chain that needs it

    place = Path(events).absolute()
    folder = state_folder(place, spec.state_version)
    return _states.setdefault((str(folder), ""), LiveState(LmdbHome(folder), spec, place))


@contextmanager
def events_in(folder: Path | None) -> Iterator[None]:
    """Chains that are opened in the block read the live state of this folder; of None they see none.

    Args:
        folder: as CASCADE_EVENTS names one.
    """
    token = _events.set("" if folder is None else str(folder))
    try:
        yield
    finally:
        _events.reset(token)


def without_live_state() -> AbstractContextManager[None]:
    """Chains that are opened in the block see no live state: what they answer follows from their files."""
    return events_in(None)


class at_instant:
    """In the block it is that instant, nanoseconds since 1970: of a request that is logged, or for a replay."""

    # No generator, which takes three times as long: every request of a server with a log goes through it.
    __slots__ = ("_instant", "_token")

    def __init__(self, instant: int) -> None:
        self._instant = instant

    def __enter__(self) -> None:
        self._token = _instant.set(self._instant)

    def __exit__(self, *_: object) -> None:
        _instant.reset(self._token)


def now_ns() -> int:
    """The instant that a slate is for."""
    instant = _instant.get()
    return time.time_ns() if instant is None else instant
