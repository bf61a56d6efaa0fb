"""Events that are in the log and that the fold could not take: EVENTS/set_aside.ndjson, a line each with its offset.

The file is never cut, as that of refused events is: whoever reads the log leaves out these offsets.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import KINDS, Events
from runtime.stream.rejected import plain_value

__all__ = ["SetAsideEvents", "held_set_aside", "set_aside_file", "set_aside_line", "set_aside_offsets"]

# The name that a request has for a column, so that users who are to be forgotten are found here too.
NAMES = {"user": "user_id", "item": "item_id", "at": "at", "value": "value", "event_id": "event_id", "extra": "extra"}


class SetAsideEvents:
    """Keeps such events, each once, however often the log is folded.

    Args:
        events: the EVENTS folder.

    Attributes:
        num_met: events that were set aside since it was opened, the known ones too.
    """

    def __init__(self, events: Path) -> None:
        self._path = set_aside_file(events)
        self._known: set[int] = set(set_aside_offsets(events).tolist())
        self.num_met = 0

    def keep(self, event: Events, offset: int, why: str) -> None:
        """Write a line, unless there is one already.

        Args:
            event: alone.
            offset: of the log.
            why: it could not be folded.

        Raises:
            OSError: the file cannot be written.
        """
        if offset not in self._known:
            with held_set_aside(self._path) as file:
                line = _end_half_a_line(file.fileno()) + set_aside_line(event, offset, why) + "\n"
                file.write(line.encode())
            self._known.add(offset)
        self.num_met += 1


@contextmanager
def held_set_aside(path: Path) -> Iterator[IO[bytes]]:
    """The file, which no other process adds to or puts another one in the place of meanwhile.

    Raises:
        OSError: it cannot be opened.
    """
    while True:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield file
                return


def set_aside_file(events: Path) -> Path:
    """Where they are."""
    return events / "set_aside.ndjson"


def set_aside_offsets(events: Path) -> NDArray[np.int64]:
    """Their offsets; int64, ascending.

    Raises:
        OSError: the file cannot be read.
    """
    path, found = set_aside_file(events), set()
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError, TypeError):  # half a line, of a disk that was full
            found.add(int(json.loads(line)["offset"]))
    return np.array(sorted(found), np.int64)


def set_aside_line(event: Events, offset: int, why: str, **place: object) -> str:
    """The JSON object of an event, alone, that could not be folded; `place` says more of where it is."""
    kind, label = int(event.kind[0]), int(event.label[0])
    said = {
        **{name: plain_value(getattr(event, column)[0]) for column, name in NAMES.items()},
        "kind": KINDS[kind] if kind < len(KINDS) else kind,
        "label": event.labels[label] if label < len(event.labels) else label,
    }
    return json.dumps({**place, "offset": offset, "reason": why, "event": said})


def _end_half_a_line(handle: int) -> str:
    """A line break where a file ends without one."""
    size = os.fstat(handle).st_size
    return "\n" if size and os.pread(handle, 1, size - 1) != b"\n" else ""
