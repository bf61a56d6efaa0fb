"""A process that writes a live state, as the model `cascade_events` does beside the chain; and the events that it gets.

LMDB opens an environment once a process, so that a test whose chain reads the state writes it from another one.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from runtime.stream.events import INTERACTION, ITEM, Events
from runtime.stream.folder import state_folder
from runtime.stream.spec import StreamSpec

PROGRAM = """
import pickle, sys
from pathlib import Path
sys.path[:0] = pickle.load(sys.stdin.buffer)
from runtime.stream.state import apply
from runtime.stream.store import LmdbStore
folder, spec = pickle.load(sys.stdin.buffer)
store = LmdbStore(Path(folder), writable=True)
while (batch := pickle.load(sys.stdin.buffer)) is not None:
    apply(store, spec, *batch)
    print(flush=True)
store.close()
"""


def events_of(rows: list[dict], *, is_text: bool) -> Events:
    """Rows with the keys of Events; absent ones have a plain value."""
    dtype, nobody = (object, b"") if is_text else (np.int64, 0)

    def column(name: str, absent: Any, kind: Any) -> np.ndarray:
        values = np.empty(len(rows), kind)
        values[:] = [row.get(name, absent) for row in rows]
        return values

    return Events(
        kind=column("kind", INTERACTION, np.uint8),
        user=column("user", nobody, dtype),
        item=column("item", nobody, dtype),
        at=column("at", 1, np.int64),
        label=np.ones(len(rows), np.uint8),
        value=column("value", 1.0, np.float32),
        event_id=column("event_id", b"", object),
        extra=column("extra", b"", object),
        labels=("", "click"),
    )


def stock(item: Any, value: float, at: int = 1) -> dict:
    """An event that an item is in stock, or not."""
    return {"kind": ITEM, "item": item, "value": value, "at": at}


class Writer:
    """Use as a context manager.

    Args:
        events: the folder that CASCADE_EVENTS names.
        spec: of the stream.
    """

    def __init__(self, events: Path, spec: StreamSpec) -> None:
        self.folder, self._spec = state_folder(events, spec.state_version), spec
        self.position = 0
        self._is_text = spec.item_id_dtype == "BYTES"
        self._process: subprocess.Popen | None = None

    def send(self, *rows: dict) -> int:
        """Fold events into the state; they are in it on return. Returns the position after them."""
        self._give((events_of(list(rows), is_text=self._is_text), self.position))
        assert self._process is not None and self._process.stdout is not None
        assert self._process.stdout.readline() == b"\n"
        self.position += len(rows)
        return self.position

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._process = None

    def _give(self, value: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        pickle.dump(value, self._process.stdin)
        self._process.stdin.flush()

    def __enter__(self) -> Writer:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )
        self._give(sys.path)
        self._give((str(self.folder), self._spec))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._give(None)
            self._process.communicate()
