"""`cascade stream status`: how far the log and the states of a folder are, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ensemble.stream.folder import find_events, load_spec
from ensemble.stream.shared import find_shared
from ensemble.stream.shared_status import shared_lines, shared_status
from runtime.stream.folder import checkpoints, is_held
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import first_offset, read_log
from runtime.stream.log.segments import list_segments
from runtime.stream.rejected import rejected_files
from runtime.stream.set_aside import set_aside_offsets
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ITEM, USER, LmdbStore, StoreError
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.shown import print_json

__all__ = ["CheckpointStatus", "FolderStatus", "StateStatus", "print_status"]

MEGABYTE = 1 << 20


class StateStatus(msgspec.Struct, frozen=True):
    """A live state.

    Attributes:
        name: of its folder.
        is_current: False of an earlier [stream] or another release, which this one does not read.
        num_events: of the log, that it was made of.
        num_users, num_items: that it holds.
        num_bytes: on disk.
    """

    name: str
    is_current: bool
    num_events: int
    num_users: int
    num_items: int
    num_bytes: int


class CheckpointStatus(msgspec.Struct, frozen=True):
    """A copy of the state.

    Attributes:
        name: of its folder.
        num_events: that it was made of.
        num_bytes: on disk.
    """

    name: str
    num_events: int
    num_bytes: int


class FolderStatus(msgspec.Struct, frozen=True):
    """What `cascade stream status --json` prints of a folder.

    Attributes:
        folder: of live events.
        is_written: whether a server writes it now.
        num_events: that the log has had.
        first_offset: of the first event that is still in it.
        num_files: of the log.
        num_bytes: of them.
        last_event_at: when the last event came; null: none is in the log.
        states: of all versions.
        checkpoints: of the current one.
        num_refused: refused events that are kept.
        num_set_aside: events that could not be folded into the state.
    """

    folder: str
    is_written: bool
    num_events: int
    first_offset: int
    num_files: int
    num_bytes: int
    last_event_at: str | None
    states: list[StateStatus]
    checkpoints: list[CheckpointStatus]
    num_refused: int
    num_set_aside: int


def print_status(path: Path, source: str | None = None, store: str | None = None, *, as_json: bool = False) -> None:
    """Print the status of a folder of live events, or of a topic and its state, on standard output.

    Args:
        path: see `find_events`; or a run whose events come over a topic.
        source: see `find_shared`.
        store: see `find_shared`.
        as_json: print JSON.

    Raises:
        ArtefactError: there are no live events, or they cannot be read.
        ServingError: the topic or the state cannot be used.
    """
    shared = find_shared(path, source, store, "stream status")
    try:
        found = shared_status(shared) if shared else _status(find_events(path))
    except (LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error
    if as_json:
        print_json(found)
        return
    table = Table(show_header=False)
    for name, value in _lines(found) if isinstance(found, FolderStatus) else shared_lines(found):
        table.add_row(console.plain(name), console.plain(value))
    Console(highlight=False).print(table)


def _status(events: Path) -> FolderStatus:
    spec = load_spec(events)
    segments = list_segments(events)
    end, last = first_offset(events), None
    for frame in read_log(events, segments[-1].first_offset if segments else 0):
        end, last = frame.next_offset, frame.received_at
    return FolderStatus(
        folder=str(events),
        is_written=is_held(events),
        num_events=end,
        first_offset=first_offset(events),
        num_files=len(segments),
        num_bytes=_num_bytes(events / "log"),
        last_event_at=None if last is None else _when(last),
        states=[_state(folder, spec) for folder in sorted((events / "state").glob("[!.]*"))],
        checkpoints=[
            CheckpointStatus(folder.name, position, _num_bytes(folder))
            for position, folder in checkpoints(events, spec.state_version)
        ],
        num_refused=_num_lines(events),
        num_set_aside=len(set_aside_offsets(events)),
    )


def _state(folder: Path, spec: StreamSpec) -> StateStatus:
    store = LmdbStore(folder, writable=False)
    try:
        with store.read() as reading:
            users = sum(1 for _ in reading.scan(USER))
            items = sum(1 for _ in reading.scan(ITEM))
            is_current = folder.name == spec.state_version
            return StateStatus(folder.name, is_current, int(reading.position), users, items, _num_bytes(folder))
    finally:
        store.close()


def _lines(found: FolderStatus) -> Iterator[tuple[str, str]]:
    yield "folder", found.folder
    yield "a server writes it", "yes" if found.is_written else "no"
    size = f"{found.num_files} files, {_size(found.num_bytes)}"
    yield "log", f"{found.num_events:,} events in {size}; from {found.first_offset:,} on"
    if found.last_event_at is not None:
        yield "last event", found.last_event_at
    for state in found.states:
        said = f"{state.num_events:,} events; {state.num_users:,} users, {state.num_items:,} items"
        said += f"; {_size(state.num_bytes)}"
        older = "" if state.is_current else "; of an earlier [stream] or another release, not read here"
        yield f"state {state.name}", said + older
    for checkpoint in found.checkpoints:
        yield f"checkpoint {checkpoint.name}", f"{checkpoint.num_events:,} events, {_size(checkpoint.num_bytes)}"
    yield "refused events kept", f"{found.num_refused:,}"
    if num := found.num_set_aside:
        yield "events set aside", f"{num:,}, which are in the log, could not be folded into the state and count nowhere"


def _num_lines(events: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in rejected_files(events))


def _num_bytes(folder: Path) -> int:
    """On disk; the file of a state is sparse."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _size(num_bytes: int) -> str:
    return f"{num_bytes / MEGABYTE:,.1f} MB"


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
