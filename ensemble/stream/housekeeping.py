"""`cascade stream compact`, `forget` and `rebuild`: what becomes of the events after they have been taken in."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from cascade_client import CascadeClient
from ensemble.serving.client_errors import as_ours
from ensemble.stream.folder import find_events, load_spec
from ensemble.stream.shared import find_shared, open_store
from ensemble.stream.shared_writing import forget_shared
from runtime.stream.events import FORGET, Events
from runtime.stream.folder import FolderError, existing_state, is_held
from runtime.stream.ingest import Ingest
from runtime.stream.log.errors import LogError
from runtime.stream.log.log import SEAL_REQUEST
from runtime.stream.record import user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore, StoreError
from workflows.core import console
from workflows.core.errors import ArtefactError, DataError, ServingError
from workflows.stream.compact import Compaction, compact
from workflows.stream.history import read_events
from workflows.stream.rebuild import rebuild_state

__all__ = ["compact_events", "forget_user", "rebuild"]

DAY_NS = 86_400 * 10**9


def compact_events(
    path: Path,
    keep_days: int | None,
    source: str | None = None,
    store: str | None = None,
    idle_days: float | None = None,
) -> None:
    """Move the log of a folder of live events to Parquet, and say what was done.

    Args:
        path: see `find_events`.
        keep_days: events that arrived longer ago are removed for good; None: all are kept.
        source: see `find_shared`.
        store: see `find_shared`.
        idle_days: users who did nothing for so long leave the state; None: all stay.

    Raises:
        ArtefactError: there are no live events, or nothing to do with them.
        ServingError: the state on Redis cannot be used.
        CascadeError: see `compact`.
    """
    before = None if idle_days is None else time.time_ns() - int(idle_days * DAY_NS)
    if (shared := find_shared(path, source, store, "stream compact")) is not None:
        if before is None or keep_days is not None:
            raise ArtefactError(
                f"events come over {shared.topic.shown}, which keeps them itself, so there is no log to compact: how "
                "long they stay is retention.ms of the topic, and docs/OUTGROWN.md shows how they become Parquet; "
                "--idle-days alone takes users who are long gone out of the state"
            )
        with open_store(shared) as state:
            _say_expired(state.expire(before, _last_at(shared.spec)), idle_days)
        return
    events = find_events(path)
    if before is not None:
        _say_expired(_expire(events, load_spec(events), before), idle_days)
    _say(compact(events, load_spec(events).state_version, keep_days))


def _expire(events: Path, spec: StreamSpec, before: int) -> int:
    """Take users out of the state of a folder, whether or not a server writes it."""
    try:
        # Opening one that is not there to write would make an empty one.
        state = LmdbStore(existing_state(events, spec.state_version), writable=True)
        try:
            return state.expire(before, _last_at(spec))
        finally:
            state.close()
    except StoreError as error:
        raise ArtefactError(str(error)) from error


def _last_at(spec: StreamSpec) -> slice:
    """Where in a user's record the instant of its latest event is."""
    fields = user_record(spec).fields
    assert fields is not None
    start = int(fields["last_at"][1])
    return slice(start, start + fields["last_at"][0].itemsize)


def _say_expired(count: int, idle_days: float | None) -> None:
    console.say(f"stream compact: users who did nothing for {idle_days:g} days and are out of the state: {count:,}")


def rebuild(path: Path, source: str | None = None, store: str | None = None) -> None:
    """Make the state of a folder of live events anew from all events that it has.

    Args:
        path: see `find_events`.
        source: see `find_shared`.
        store: see `find_shared`.

    Raises:
        ArtefactError: there are no live events, or workers make the state.
        CascadeError: see `rebuild_state`.
    """
    if (shared := find_shared(path, source, store, "stream rebuild")) is not None:
        raise ArtefactError(
            f"events come over {shared.topic.shown}, and workers make the state from it: start `cascade stream run` "
            "with another prefix in the store's URL (?prefix=...), and serve that one once it has caught up"
        )
    events = find_events(path)
    started_at = time.perf_counter()
    position = rebuild_state(events, load_spec(events))
    took = console.duration(time.perf_counter() - started_at)
    console.say(f"stream rebuild: the state knows all events up to offset {position}, made in {took}")


def forget_user(
    path: Path, user: str, url: str, key: str | None, source: str | None = None, store: str | None = None
) -> None:
    """Forget a user: in the state at once, and in every file that is not being written.

    Args:
        path: see `find_events`.
        user: raw id.
        url: of the server that writes the folder; none is needed where no server does.
        key: the server's CASCADE_EVENTS_KEY.
        source: see `find_shared`.
        store: see `find_shared`.

    Raises:
        ArtefactError: there are no live events.
        DataError: this can be no user's id.
        ServingError, RequestError: the server cannot be reached, or writes another folder.
        CascadeError: see `compact`.
    """
    if (shared := find_shared(path, source, store, "stream forget")) is not None:
        forget_shared(shared, _order(shared.spec, user))
        return
    events = find_events(path)
    spec = load_spec(events)
    order = _order(spec, user)
    if is_held(events):
        offset = _send(events, order, url, key)
        _check_order(events, order, offset, url)
    else:
        _write(events, spec, order)
    done = compact(events, spec.state_version)
    _say(done)
    console.say(
        f"stream forget: user {user} is forgotten: {done.num_forgotten:,} of its events are removed from the log and "
        "Parquet; what copies and the tables of runs hold of this user is yours to remove"
    )


def _order(spec: StreamSpec, user: str) -> Events:
    """The event that forgets a user."""
    is_text = (spec.user_id_dtype == "BYTES", spec.item_id_dtype == "BYTES")
    try:
        ids = [user.encode() if is_text[0] else int(user), b"" if is_text[1] else 0]
    except ValueError:
        raise DataError(f"the users of this product are whole numbers, got {user!r}") from None
    columns = [np.array([value], object if text else np.int64) for value, text in zip(ids, is_text, strict=True)]
    nothing = np.array([b""], object)
    return Events(
        kind=np.array([FORGET], np.uint8),
        user=columns[0],
        item=columns[1],
        at=np.array([time.time_ns()]),
        label=np.zeros(1, np.uint8),
        value=np.ones(1, np.float32),
        event_id=nothing,
        extra=nothing,
        labels=("",),
    )


def _send(events: Path, order: Events, url: str, key: str | None) -> int:
    """Send the order to the server, which seals its log behind it; the offset of the order."""
    (events / SEAL_REQUEST).touch()
    user = order.user.tolist()[0]
    with as_ours(), CascadeClient(url) as client:
        (outcome,) = client.send(
            [{"kind": "forget", "user_id": user.decode() if isinstance(user, bytes) else user}], key=key
        )
    if outcome.status == "refused":
        raise DataError(f"the server refused to forget user {user!r}: {outcome.reason}")
    return outcome.offset


def _check_order(events: Path, order: Events, offset: int, url: str) -> None:
    for batch in read_events(events, offset, offset + 1):
        if batch.events.kind.tolist() == [FORGET] and batch.events.user.tolist() == order.user.tolist():
            return
    raise ServingError(f"the server at {url} forgot the user, but it does not write {events}; give its --url")


def _write(events: Path, spec: StreamSpec, order: Events) -> None:
    """Write the order where no server does."""
    try:
        ingest = Ingest(events, spec)
        try:
            ingest.accept(order, time.time_ns())
        finally:
            ingest.close()
    except (FolderError, LogError, StoreError) as error:
        raise DataError(str(error)) from error


def _say(done: Compaction) -> None:
    """One line of what was done."""
    latest = "" if done.is_sealed else "; the server's latest file is sealed with its next event, for the next call"
    expired = f", Parquet files that were too old: {done.num_expired}" if done.num_expired else ""
    console.say(
        f"stream compact: files of the log now in Parquet: {done.num_converted}, removed from the log: "
        f"{done.num_removed}, events of forgotten users removed: {done.num_forgotten:,}{expired}; the checkpoint "
        f"has the events up to offset {done.position}{latest}"
    )
