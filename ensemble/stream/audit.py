"""`cascade stream audit`: the values that the live state gives, against the events of the log counted one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.stream.folder import find_events, load_spec
from runtime.stream.folder import FolderError, state_folder
from runtime.stream.log.errors import LogError
from runtime.stream.record import IN_STOCK, NOT_SAID, item_record, unpack, user_record
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


def audit(path: Path) -> None:
    """Compare every value of the live state with what the log says, without the fold that made it.

    They are every user's history, further seen items and instants, every item's stock, and every window of both, as of
    the latest event. A server may go on meanwhile: the state is read as it is when this begins.

    Args:
        path: see `find_events`.

    Raises:
        ArtefactError: there are no live events, they cannot be read, or a value differs; names the first.
    """
    events = find_events(path)
    spec = load_spec(events)
    if first := first_event(events):
        raise ArtefactError(f"{events} no longer has the events before offset {first}, so that not all can be counted")
    try:
        live = LmdbStore(state_folder(events, spec.state_version), writable=False)
        try:
            with live.read() as reading:
                is_counted = not (spec.item_windows and has_forgotten(events))
                num_values = _compare(reading, events, spec, is_counted)
        finally:
            live.close()
    except (FolderError, LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error
    if not is_counted:
        console.say("stream audit: windows of items are left out: they may still count what forgotten users did")
    console.say(f"stream audit: all {num_values:,} values of the live state are those of the log, 0 differ")


def _compare(reading: Reading, events: Path, spec: StreamSpec, is_counted: bool) -> int:
    expected, t = Expected(spec), 0
    with console.progress("stream audit: count", reading.position, "events") as bar:
        for batch in all_events(events, 0, reading.position):
            expected.tell(batch)
            t = max(t, int(batch.events.at.max(initial=0)))
            bar.advance(bar.task_ids[0], len(batch.offsets))
    num_values = 0
    for what, found, right in (*_users(reading, spec, expected, t), *_items(reading, spec, expected, t, is_counted)):
        if found != right:
            raise ArtefactError(
                f"stream audit: {what} is {found} in the live state and {right} by the log; stop the server and "
                "remove the state folder, and it is made anew from the log at the next start"
            )
        num_values += len(right) if isinstance(right, list) else 1
    return num_values


def _users(reading: Reading, spec: StreamSpec, expected: Expected, t: int) -> Iterator[tuple[str, Any, Any]]:
    """(what, value of the state, right value) of every user of the log."""
    for user in expected.users:
        (record,) = unpack(reading.get([USER + user]), user_record(spec))
        slots = record["slots"][: record["num_history"]][::-1]
        history = list(zip(slots["at"].tolist(), slots["offset"].tolist(), slots["item"].tolist(), strict=True))
        name = _name(user, spec)
        yield f"the history of user {name}", history, expected.history(user)
        seen = np.frombuffer(reading.get([SEEN + user])[0] or b"", "<i8").tolist()
        yield f"what user {name} has seen besides", seen, expected.seen(user)
        if spec.since:
            right = [expected.since(user, label) for label in spec.since]
            yield f"the latest events of user {name}", record["since"].tolist(), right
        yield f"windows of user {name}", _windows(record, spec.user_windows, t), expected.of_user(user, t)


def _items(
    reading: Reading, spec: StreamSpec, expected: Expected, t: int, is_counted: bool
) -> Iterator[tuple[str, Any, Any]]:
    """The same of every item of the state, with windows or without."""
    for key, value in reading.scan(ITEM):
        (record,) = unpack([value], item_record(spec))
        item = int.from_bytes(key[1:], "big") - (1 << 63)
        said = expected.stock.get(item)
        stock = None if record["stock"] == NOT_SAID else bool(record["stock"] == IN_STOCK)
        yield f"the stock of item {item}", stock, None if said is None else said[2]
        if is_counted:
            yield f"windows of item {item}", _windows(record, spec.item_windows, t), expected.of_item(item, t)


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
