"""A disk that is full or stands still, as the writer of a log meets it."""

from __future__ import annotations

import errno
import os
import threading

import pytest

__all__ = ["Disk"]


class Disk:
    """Stands in for `os.write`: what is written goes to the real one while the disk is well.

    Attributes:
        is_full: whether every write fails after a few bytes.
        num_failing: so many writes do, from the next one on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full, self.num_failing, self._write, self._goes = False, 0, os.write, threading.Event()
        self._goes.set()
        monkeypatch.setattr(os, "write", self._answer)
        monkeypatch.setattr("runtime.log.writer.SHORTEST_PAUSE_S", 0.01)

    def stall(self) -> None:
        """Let every write wait."""
        self._goes.clear()

    def go_on(self) -> None:
        """Let them through."""
        self._goes.set()

    def _answer(self, handle: int, data: bytes) -> int:
        self._goes.wait(600)
        fails, self.num_failing = self.num_failing > 0, max(self.num_failing - 1, 0)
        if self.is_full or fails:
            self._write(handle, bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(handle, data)
