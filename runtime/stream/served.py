"""Some of the requests that were served, with what they were given of the live state: `cascade stream audit` reads it.

EVENTS/served/samples.ndjson holds a line each, and the same with .1 those before; features-HASH.json beside it is what
the values of lines with that hash are made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.features import LiveFeature

__all__ = ["MAX_BYTES", "MOST_ITEMS", "ServedSample", "features_file", "plain", "sample_files"]

# At which size the file becomes the one before.
MAX_BYTES = 16 << 20
# Of a request's candidates so many are kept.
MOST_ITEMS = 10


class ServedSample:
    """Writes lines; any number of processes do so to one file.

    A request never fails for it: what cannot be written is not kept.

    Args:
        events: the EVENTS folder.
        share: of users in requests whose lines are kept, 0 to 1.
        state_version: of the state that they read.
        features: what the values of a line are made of.
    """

    def __init__(self, events: Path, share: float, state_version: str, features: Sequence[LiveFeature]) -> None:
        self._events, self._share, self._state = events, share, state_version
        self._random = np.random.default_rng()
        self._features = json.dumps([asdict(feature) for feature in features])
        self._hash = hashlib.sha256(self._features.encode()).hexdigest()[:12]

    def draw(self, num: int) -> list[int]:
        """Which of so many users of a batch are kept."""
        drawn: list[int] = np.flatnonzero(self._random.random(num) < self._share).tolist()
        return drawn

    def write(self, log: str, offset: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keep lines of one batch.

        Args:
            log: the id of the log that `offset` is of.
            offset: the position of the state: events below it are in the values.
            lines: what was asked and given: "t", nanoseconds; "user" and "history", or "items"; "values" by name.
        """
        head = {"features": self._hash, "state": self._state, "log": log, "offset": offset}
        text = "".join(json.dumps({**head, **line}) + "\n" for line in lines)
        with suppress(OSError):
            self._append(text.encode())

    def _append(self, text: bytes) -> None:
        path = sample_files(self._events)[-1]
        if not (definitions := features_file(self._events, self._hash)).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = definitions.with_suffix(f".{os.getpid()}")
            beside.write_text(self._features)
            beside.replace(definitions)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            if os.fstat(handle).st_size >= MAX_BYTES:
                self._begin_next(handle, path)
            # One write: the lines of other processes come before or behind.
            os.write(handle, text)
        finally:
            os.close(handle)

    def _begin_next(self, handle: int, path: Path) -> None:
        """Make the full file the one before, unless another process has done so; these lines still go to it."""
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.stat().st_ino == os.fstat(handle).st_ino:
            path.replace(sample_files(self._events)[0])


def sample_files(events: Path) -> tuple[Path, Path]:
    """The file before and the one that is written; either may be absent."""
    folder = events / "served"
    return folder / "samples.1.ndjson", folder / "samples.ndjson"


def features_file(events: Path, name: str) -> Path:
    """The features of lines with that hash."""
    return events / "served" / f"features-{name}.json"


def plain(values: NDArray) -> list[float | None]:
    """Numbers as JSON has them, exact; None for NaN."""
    return [None if number != number else number for number in values.astype(np.float64).tolist()]
