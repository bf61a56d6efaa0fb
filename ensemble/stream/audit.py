"""`cascade stream audit`: the values that the live state gives, against the events of the log counted one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.stream.audit_served import ServedRequests
from ensemble.stream.folder import find_events, load_spec
from ensemble.stream.shared import Shared, find_shared, one_sentence, open_store
from ensemble.stream.topic_batches import NEW_PREFIX, TopicBatches
from runtime.stream.folder import FolderError, existing_state
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import Batch
from runtime.stream.record import IN_STOCK, NOT_SAID, RecordError, item_record, read_seen, unpack, user_record
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ITEM, SEEN, USER, LmdbStore, Reading, StoreError
from runtime.stream.windows import Window, values
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.stream.forget import has_forgotten
from workflows.stream.history import first_event
from workflows.stream.oracle import Expected
from workflows.stream.rebuild import all_events

__all__ = ["audit"]


NEW_STATE = "stop the server and remove the state folder, and it is made anew from the log at the next start"


def audit(path: Path, source: str | None = None, store: str | None = None) -> None:
    """Compare every value of the live state with what the log says, without the fold that made it.

    They are every user's history, further seen items and instants, every item's stock, and every window of both, as of
    the latest event. Then the same of the requests that `stream.audit_share` has kept, each at its own offset and
    instant. A server may go on meanwhile: the state is read as it is when this begins.

    Args:
        path: see `find_events`; or a run whose events come over a topic.
        source: see `find_shared`.
        store: see `find_shared`.

    Raises:
        ArtefactError: there are no live events, they cannot be read, or a value differs; names the first.
        ServingError: the topic or the state cannot be used.
    """
    if (shared := find_shared(path, source, store, "stream audit")) is not None:
        _audit_shared(shared)
        return
    events = find_events(path)
    spec = load_spec(events)
    if first := first_event(events):
        raise ArtefactError(f"{events} no longer has the events before offset {first}, so that not all can be counted")
    try:
        live = LmdbStore(existing_state(events, spec.state_version), writable=False)
        try:
            with live.read() as reading:
                is_counted = not (spec.item_windows and has_forgotten(events))
                served = ServedRequests(events, spec, reading, is_counted=is_counted)
                batches = all_events(events, 0, reading.position)
                counted = _Audit(reading, spec, NEW_STATE)
                counted.compare(batches, is_counted, served)
        finally:
            live.close()
    except (FolderError, LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error
    if not is_counted:
        console.say("stream audit: windows of items are left out: they may still count what forgotten users did")
    console.say(f"stream audit: all {counted.num_values:,} values of the live state are those of the log, 0 differ")
    if served.num_requests or spec.audit_share:
        console.say(
            f"stream audit: all {served.num_values:,} values that {served.num_requests:,} served requests were given "
            "are those of the log at their offsets, 0 differ"
        )
    if served.num_left_out:
        console.say(
            f"stream audit: {served.num_left_out:,} served requests are of another state or later, or cannot be read; "
            "left out"
        )


def _audit_shared(shared: Shared) -> None:
    """The same of each partition of a topic, whose state workers may write meanwhile."""
    num_values = num_ahead = 0
    with open_store(shared) as store, closing(TopicBatches(shared)) as topic, one_sentence():
        topic.check_whole(store)
        for partition in range(topic.num_partitions):
            with RedisPartition(store, partition).read() as reading:
                counted = _Audit(reading, shared.spec, NEW_PREFIX)
                counted.compare(topic.batches(partition, 0, reading.position, store), is_counted=True)
            num_values, num_ahead = num_values + counted.num_values, num_ahead + counted.num_ahead
    ahead = f"; {num_ahead:,} records that workers changed meanwhile are left out" if num_ahead else ""
    console.say(f"stream audit: all {num_values:,} values of the live state are those of the topic, 0 differ{ahead}")


class _Audit:
    """What was compared of a state.

    Args:
        reading: of it; records that know more than its position are left out.
        spec: of the stream.
        way_out: what to do about a value that differs.

    Attributes:
        num_values: that are right.
        num_ahead: records that were left out.
        num_gone: users who are left out, having been removed once for having done nothing.
    """

    def __init__(self, reading: Reading, spec: StreamSpec, way_out: str) -> None:
        self._reading, self._spec, self._way_out = reading, spec, way_out
        self._position = reading.position
        self.num_values = self.num_ahead = self.num_gone = 0

    def compare(self, batches: Iterable[Batch], is_counted: bool, served: ServedRequests | None = None) -> None:
        """Count events up to the position, and compare; served requests on the way.

        Raises:
            ArtefactError: a value differs.
        """
        expected, t = Expected(self._spec), 0
        with console.progress("stream audit: count", self._position, "events") as bar:
            for batch in batches:
                if served is None:
                    expected.tell(batch)
                else:
                    served.tell(expected, batch)
                t = max(t, int(batch.events.at.max(initial=0)))
                bar.advance(bar.task_ids[0], len(batch.offsets))
        if served is not None:
            served.rest(expected)
        for what, found, right in (*self._users(expected, t), *self._items(expected, t, is_counted)):
            if found != right:
                raise ArtefactError(
                    f"stream audit: {what} is {found} in the live state and {right} by the log; {self._way_out}"
                )
            self.num_values += len(right) if isinstance(right, list) else 1
        if self.num_gone:
            console.say(f"stream audit: {self.num_gone:,} users were removed for having done nothing, and are left out")

    def _users(self, expected: Expected, t: int) -> Iterator[tuple[str, Any, Any]]:
        """(what, value of the state, right value) of every user of the log."""
        for user, told in expected.users.items():
            value, known = self._reading.get([USER + user, SEEN + user])
            try:
                (record,) = unpack([value], user_record(self._spec))
                seen = read_seen([known or b""])
            except RecordError as error:
                raise self._damaged(f"user {_name(user, self._spec)}", error) from None
            if self._is_ahead(record):
                continue
            values = list(self._of_user(user, record, seen, expected, t))
            if told.first_at < self._reading.expired_at and any(found != right for _, found, right in values):
                self.num_gone += 1
            else:
                yield from values

    def _of_user(
        self, user: bytes, record: NDArray, seen: NDArray, expected: Expected, t: int
    ) -> Iterator[tuple[str, Any, Any]]:
        spec = self._spec
        slots = record["slots"][: record["num_history"]][::-1]
        history = list(zip(slots["at"].tolist(), slots["offset"].tolist(), slots["item"].tolist(), strict=True))
        name = _name(user, spec)
        yield f"the history of user {name}", history, expected.history(user)
        yield f"what user {name} has seen besides", seen.tolist(), expected.seen(user)
        if spec.since:
            right = [expected.since(user, label) for label in spec.since]
            yield f"the latest events of user {name}", record["since"].tolist(), right
        yield f"windows of user {name}", _windows(record, spec.user_windows, t), expected.of_user(user, t)

    def _items(self, expected: Expected, t: int, is_counted: bool) -> Iterator[tuple[str, Any, Any]]:
        """The same of every item of the state, with windows or without."""
        for key, value in self._reading.scan(ITEM):
            item = int.from_bytes(key[1:], "big") - (1 << 63)
            try:
                (record,) = unpack([value], item_record(self._spec))
            except RecordError as error:
                raise self._damaged(f"item {item}", error) from None
            if self._is_ahead(record):
                continue
            said = expected.stock.get(item)
            stock = None if record["stock"] == NOT_SAID else bool(record["stock"] == IN_STOCK)
            yield f"the stock of item {item}", stock, None if said is None else said[2]
            if is_counted:
                windows = _windows(record, self._spec.item_windows, t)
                yield f"windows of item {item}", windows, expected.of_item(item, t)

    def _damaged(self, whose: str, error: RecordError) -> ArtefactError:
        return ArtefactError(f"stream audit: {whose} cannot be read in the live state: {error}; {self._way_out}")

    def _is_ahead(self, record: NDArray) -> bool:
        """Whether a worker has written it since the position was read."""
        is_ahead = bool(record["next_offset"] > self._position)
        self.num_ahead += is_ahead
        return is_ahead


def _windows(record: NDArray, windows: tuple[Window, ...], t: int) -> list[int]:
    instant = np.array([t])
    return [
        int(values(record["newest"][None, place], record["tiles"][None, place], window, instant)[0])
        for place, window in enumerate(windows)
    ]


def _name(user: bytes, spec: StreamSpec) -> str:
    if spec.user_id_dtype == "BYTES":
        return repr(user.decode("utf-8", "replace"))
    return str(int.from_bytes(user, "big") - (1 << 63))
