"""`cascade stream status`: how far the log and the states of a folder are, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ensemble.stream.folder import find_events, load_spec
from ensemble.stream.shared import find_shared
from ensemble.stream.shared_status import shared_lines
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

__all__ = ["print_status"]

MEGABYTE = 1 << 20


def print_status(path: Path, source: str | None = None, store: str | None = None) -> None:
    """Print the status of a folder of live events, or of a topic and its state, on standard output.

    Args:
        path: see `find_events`; or a run whose events come over a topic.
        source: see `find_shared`.
        store: see `find_shared`.

    Raises:
        ArtefactError: there are no live events, or they cannot be read.
        ServingError: the topic or the state cannot be used.
    """
    shared = find_shared(path, source, store, "stream status")
    table = Table(show_header=False)
    try:
        for name, value in shared_lines(shared) if shared else _lines(find_events(path)):
            table.add_row(console.plain(name), console.plain(value))
    except (LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error
    Console(highlight=False).print(table)


def _lines(events: Path) -> Iterator[tuple[str, str]]:
    spec = load_spec(events)
    yield "folder", str(events)
    yield "a server writes it", "yes" if is_held(events) else "no"
    yield from _log(events)
    for folder in sorted((events / "state").glob("[!.]*")):
        yield from _state(folder, spec)
    for position, folder in checkpoints(events, spec.state_version):
        yield f"checkpoint {folder.name}", f"{position:,} events, {_size(folder)}"
    yield "refused events kept", f"{_num_lines(events):,}"
    if num := len(set_aside_offsets(events)):
        yield "events set aside", f"{num:,}, which are in the log, could not be folded into the state and count nowhere"


def _log(events: Path) -> Iterator[tuple[str, str]]:
    segments = list_segments(events)
    end, last = first_offset(events), None
    for frame in read_log(events, segments[-1].first_offset if segments else 0):
        end, last = frame.next_offset, frame.received_at
    yield "log", f"{end:,} events in {len(segments)} files, {_size(events / 'log')}; from {first_offset(events):,} on"
    if last is not None:
        yield "last event", datetime.fromtimestamp(last / 1e9, timezone.utc).isoformat(timespec="milliseconds")


def _state(folder: Path, spec: StreamSpec) -> Iterator[tuple[str, str]]:
    store = LmdbStore(folder, writable=False)
    try:
        with store.read() as reading:
            users = sum(1 for _ in reading.scan(USER))
            items = sum(1 for _ in reading.scan(ITEM))
            said = f"{reading.position:,} events; {users:,} users, {items:,} items; {_size(folder)}"
            if folder.name != spec.state_version:
                yield f"state {folder.name}", f"{said}; of an earlier [stream] or another release, not read here"
                return
            yield f"state {folder.name}", said
    finally:
        store.close()


def _num_lines(events: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in rejected_files(events))


def _size(folder: Path) -> str:
    """On disk; the file of a state is sparse."""
    size = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    return f"{size / MEGABYTE:,.1f} MB"
