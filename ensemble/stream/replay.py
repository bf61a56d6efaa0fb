"""`cascade stream replay`: the whole log folded once more; it must make the state that serves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ensemble.stream.folder import find_events, load_spec
from ensemble.stream.shared import find_shared
from ensemble.stream.shared_replay import WHOSE, may_be_gone, raw_id, replay_shared
from runtime.stream.folder import FolderError, existing_state
from runtime.stream.log.errors import LogError
from runtime.stream.recovery import catch_up
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ITEM, USER, LmdbStore, Reading, StoreError
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.stream.forget import has_forgotten
from workflows.stream.history import first_event
from workflows.stream.rebuild import all_events

__all__ = ["replay"]


def replay(path: Path, source: str | None = None, store: str | None = None, *, check: bool) -> None:
    """Fold the log of a folder of live events from its beginning, into a state that is thrown away.

    Args:
        path: see `find_events`; or a run whose events come over a topic.
        source: see `find_shared`.
        store: see `find_shared`.
        check: compare with the live state, as it is when this begins; a server may go on meanwhile.

    Raises:
        ArtefactError: there are no live events, they cannot be read, or the two states differ.
        ServingError: the topic or the state cannot be used.
    """
    if (shared := find_shared(path, source, store, "stream replay")) is not None:
        replay_shared(shared, check=check)
        return
    events = find_events(path)
    spec = load_spec(events)
    try:
        with tempfile.TemporaryDirectory(prefix="cascade-replay-") as scratch:
            if check:
                _check(events, spec, Path(scratch))
            else:
                _fold(events, spec, Path(scratch), None)
    except (FolderError, LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error


def _fold(events: Path, spec: StreamSpec, scratch: Path, end: int | None) -> LmdbStore:
    """A fresh state with the events below an offset."""
    started_at, started_cpu = time.perf_counter(), time.process_time()
    store = LmdbStore(scratch / "fresh", writable=True)
    num_events = catch_up(events, spec, store, end, all_events)
    took, cpu = time.perf_counter() - started_at, time.process_time() - started_cpu
    rate = num_events / cpu if cpu else 0.0
    console.say(f"stream replay: folded {num_events:,} events in {console.duration(took)}, {rate:,.0f} a CPU-second")
    return store


def _check(events: Path, spec: StreamSpec, scratch: Path) -> None:
    if first := first_event(events):
        raise ArtefactError(
            f"{events} no longer has the events before offset {first}, which the live state knows: there is nothing to "
            "compare with"
        )
    live = LmdbStore(existing_state(events, spec.state_version), writable=False)
    try:
        with live.read() as of_live:
            fresh = _fold(events, spec, scratch, of_live.position)
            try:
                with fresh.read() as of_log:
                    is_counted = not (spec.item_windows and has_forgotten(events))
                    num_records = _compare(of_live, of_log, spec, is_counted)
            finally:
                fresh.close()
    finally:
        live.close()
    if not is_counted:
        console.say("stream replay: items are not compared, whose windows still count what forgotten users did")
    console.say(f"stream replay: all {num_records:,} records of the live state are those of the log, to the byte")


def _compare(live: Reading, log: Reading, spec: StreamSpec, is_counted: bool) -> int:
    """The number of records, which are the same in both; without those of items where these cannot be.

    Raises:
        ArtefactError: a record differs; names the first.
    """
    if live.position != log.position:
        raise ArtefactError(
            f"the live state knows {live.position} events and the log ends at {log.position}: files of the log are "
            "missing; bring them back"
        )
    num_records = num_gone = 0
    for prefix, whose in WHOSE.items():
        if prefix == ITEM and not is_counted:
            continue
        for key, value, other in _together(live.scan(prefix), log.scan(prefix)):
            if value == other:
                num_records += 1
            elif not may_be_gone(key, log, live.expired_at, spec):
                raise ArtefactError(
                    f"the live state is not what the log makes: they differ first in {whose} {raw_id(key, spec)}; "
                    "stop the server and remove the state folder, and it is made anew from the log at the next start"
                )
            else:
                num_gone += key[:1] == USER
    if num_gone:
        console.say(f"stream replay: {num_gone:,} users were removed for having done nothing, and are left out")
    return num_records


def _together(
    ours: Iterator[tuple[bytes, bytes]], theirs: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Each key of either, in order, with what both have of it."""
    first, second = next(ours, None), next(theirs, None)
    while first or second:
        key = min(found[0] for found in (first, second) if found)
        mine = first[1] if first and first[0] == key else None
        other = second[1] if second and second[0] == key else None
        yield key, mine, other
        first = next(ours, None) if mine is not None else first
        second = next(theirs, None) if other is not None else second
