"""EVENTS, the folder of one product's live events: its parts by name."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from runtime.stream.spec import STREAM_FILE, StreamSpec
from runtime.stream.store import NoStateError

__all__ = [
    "FOLDER_VARIABLE",
    "KEY_VARIABLE",
    "FolderError",
    "checkpoints",
    "existing_state",
    "is_held",
    "make_folder",
    "rejected_file",
    "save_spec",
    "state_folder",
]

# What tells the server's processes where it is, and what a sender must know.
FOLDER_VARIABLE, KEY_VARIABLE = "CASCADE_EVENTS", "CASCADE_EVENTS_KEY"


class FolderError(OSError):
    """The folder of live events cannot be used; one sentence."""


def make_folder(events: Path) -> None:
    """Make an EVENTS folder where it is absent.

    Raises:
        FolderError: it cannot be made, or not be written.
    """
    try:
        events.mkdir(parents=True, exist_ok=True)
        why = "" if os.access(events, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise FolderError(
            f"the folder of live events {events} cannot be written ({why}); make it writable, or give another one with "
            f"--events or {FOLDER_VARIABLE}"
        )


def save_spec(events: Path, spec: StreamSpec) -> None:
    """Leave a copy of stream.json in an EVENTS folder, for the commands that read it without the server.

    Raises:
        FolderError: it cannot be written.
    """
    fresh = events / ".new"
    try:
        fresh.mkdir(exist_ok=True)
        spec.save(fresh)
        (fresh / STREAM_FILE).replace(events / STREAM_FILE)
        fresh.rmdir()
    except OSError as error:
        raise FolderError(f"{events / STREAM_FILE} cannot be written ({error.strerror or error})") from error


def state_folder(events: Path, state_version: str) -> Path:
    """The LMDB environment of one version of the state."""
    return events / "state" / state_version


def existing_state(events: Path, state_version: str) -> Path:
    """The same, of a state that is there.

    Raises:
        NoStateError: it is not; says whose state is there instead.
    """
    folder = state_folder(events, state_version)
    if folder.is_dir():
        return folder
    others = ", ".join(sorted(path.name for path in (events / "state").glob("[!.]*")))
    there = f"has the state {others}, of another release or another [stream], and not" if others else "does not have"
    raise NoStateError(
        f"{events} {there} {state_version}, which is the one to read: export the run again and start its server, which "
        "makes it from the log, or run `cascade stream rebuild` where no server writes the folder"
    )


def rejected_file(events: Path) -> Path:
    """Refused events with their reasons, one JSON object a line."""
    return events / "rejected.ndjson"


def checkpoints(events: Path, state_version: str) -> list[tuple[int, Path]]:
    """Copies of the state, the latest first: the position of each and its folder."""
    found = (events / "checkpoints").glob(f"{state_version}-*")
    named = [(path.name.rpartition("-")[2], path) for path in found]
    return sorted(((int(position), path) for position, path in named if position.isdigit()), reverse=True)


def is_held(events: Path) -> bool:
    """Whether a process writes to an EVENTS folder now."""
    try:
        descriptor = os.open(events / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
