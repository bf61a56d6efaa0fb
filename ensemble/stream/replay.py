"""`cascade stream replay`: the whole log folded once more; it must make the state that serves."""

from __future__ import annotations

import tempfile
import time
from itertools import zip_longest
from pathlib import Path

from ensemble.stream.folder import find_events, load_spec
from runtime.stream.folder import FolderError, state_folder
from runtime.stream.log.errors import LogError
from runtime.stream.recovery import catch_up
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ITEM, SEEN, USER, LmdbStore, Reading, StoreError
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.stream.forget import has_forgotten
from workflows.stream.history import first_event
from workflows.stream.rebuild import all_events

__all__ = ["replay"]

WHOSE = {USER: "user", SEEN: "the seen items of user", ITEM: "item"}


def replay(path: Path, *, check: bool) -> None:
    """Fold the log of a folder of live events from its beginning, into a state that is thrown away.

    Args:
        path: see `find_events`.
        check: compare with the live state, as it is when this begins; a server may go on meanwhile.

    Raises:
        ArtefactError: there are no live events, they cannot be read, or the two states differ.
    """
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
    live = LmdbStore(state_folder(events, spec.state_version), writable=False)
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
    num_records = 0
    for prefix, whose in WHOSE.items():
        if prefix == ITEM and not is_counted:
            continue
        for (key, value), (other_key, other) in zip_longest(live.scan(prefix), log.scan(prefix), fillvalue=(b"", b"")):
            if (key, value) != (other_key, other):
                first = min(found for found in (key, other_key) if found)
                raise ArtefactError(
                    f"the live state is not what the log makes: they differ first in {whose} {_raw(first, spec)}; stop "
                    "the server and remove the state folder, and it is made anew from the log at the next start"
                )
            num_records += 1
    return num_records


def _raw(key: bytes, spec: StreamSpec) -> str:
    """The id in a key."""
    kind, rest = key[:1], key[1:]
    if kind != ITEM and spec.user_id_dtype == "BYTES":
        return repr(rest.decode("utf-8", "replace"))
    number = int.from_bytes(rest, "big") - (1 << 63)
    return f"with the hash {number}" if kind == ITEM and spec.item_id_dtype == "BYTES" else str(number)
