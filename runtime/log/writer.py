"""Writes frames to segments on a thread of its own: whoever answers a request never waits for a disk, and never fails.

What waits is bounded; what does not fit, or cannot be written, is counted and left out.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.log.folder import OPEN, OPEN_SUFFIX, READY, READY_SUFFIX
from runtime.log.record import COUNTS, HEADER, frame

__all__ = ["FLUSH_S", "QUEUE_BYTES", "ROTATE_S", "Writer"]

# What ends a process takes along what was answered since the last write: 50 ms at most where it is not busy.
FLUSH_S, ROTATE_S, SEGMENT_BYTES, QUEUE_BYTES = 0.04, 60.0, 16 << 20, 4 << 20
TOGETHER_BYTES = 1 << 19
# A write that fails, or takes longer than this, is followed by a pause that doubles each time.
SLOW_S, SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 1.0, 60.0


class Writer:
    """One process's segments. A segment begins with the first record after the last one has ended.

    Args:
        log: the LOG folder.
        header: what each segment says of its writer; asked once, on the thread.
        say: takes a sentence when writing begins to fail.
        rotate_s: age at which a segment is made ready.
        segment_bytes: size at which it is.
        queue_bytes: what may wait.

    Attributes:
        counts: since it began: frames that were written, and by "dropped_queue" and "dropped_disk" those that were not.
    """

    def __init__(
        self,
        log: Path,
        header: Callable[[], Mapping[str, Any]],
        say: Callable[[str], None],
        *,
        rotate_s: float = ROTATE_S,
        segment_bytes: int = SEGMENT_BYTES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self._log, self._ask_header, self._say = log, header, say
        self._rotate_s, self._segment_bytes, self._queue_bytes = rotate_s, segment_bytes, queue_bytes
        self._header: Mapping[str, Any] | None = None
        self._queue: deque[bytes] = deque()
        self._waiting, self.counts = 0, Counter[str]()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._handle, self._size, self._opened_at, self._number = -1, 0, 0.0, 0
        self._name, self._head, self._pause_s, self._paused_until = "", b"", 0.0, 0.0
        self._started_ns, self._parent, self._ends = time.time_ns(), _parent(), select.poll()
        if self._parent >= 0:
            self._ends.register(self._parent, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def add(self, packed: bytes) -> None:
        """Have a frame written; one thread calls this."""
        if self._waiting + len(packed) > self._queue_bytes:
            self.counts["dropped_queue"] += 1
            return
        self._waiting += len(packed)
        self._queue.append(packed)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and make the segment ready; a disk that does not answer is not waited for."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._until_rotation())
            if self._wake.is_set() and not self._gather():
                self._wake.clear()
                self._flush()
            if self._handle >= 0 and self._until_rotation() == 0.0:
                self._rotate()
        self._flush()
        self._rotate()
        if self._parent >= 0:
            os.close(self._parent)

    def _gather(self) -> bool:
        """Let more come that is written together; whether it is the end.

        Triton's processes of models end themselves soon after it has ended, and write at once what they have.
        """
        pause_s = self._paused_until - time.monotonic()
        if pause_s > 0 or self._parent < 0:
            return self._closing.wait(max(FLUSH_S, pause_s))
        self._ends.poll(1000 * FLUSH_S)
        return self._closing.is_set()

    def _until_rotation(self) -> float | None:
        if self._handle < 0:
            return None
        return max(self._opened_at + self._rotate_s - time.monotonic(), 0.0)

    def _flush(self) -> None:
        """Write what waits; what the disk refuses is left out."""
        while self._queue:
            why = self._write_some()
            self._pause(why)
            if self._size >= self._segment_bytes:
                self._rotate()
            if why and not self._closing.is_set():
                # The others wait for the end of the pause.
                self._wake.set()
                return

    def _write_some(self) -> str:
        """Write some of what waits, for which it takes that much memory again; why writing should pause."""
        batch, size = [], 0
        while self._queue and size < TOGETHER_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        started_at = time.monotonic()
        try:
            if self._handle < 0:
                self._open()
            self._write(b"".join(batch))
            self.counts["written"] += len(batch)
            took_s = time.monotonic() - started_at
            why = f"a write took {took_s:.1f} s" if took_s > SLOW_S else ""
        except OSError as error:
            self.counts["dropped_disk"] += len(batch)
            why = error.strerror or str(error)
        # Only now: a writer that waits for a slow disk must not let more in than fits.
        self._waiting -= size
        return why

    def _pause(self, why: str) -> None:
        if not why:
            self._pause_s = 0.0
            return
        if not self._pause_s:
            self._say(f"requests cannot be logged to {self._log} ({why}); answers are given all the same")
        self._pause_s = min(max(2 * self._pause_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        self._paused_until = time.monotonic() + self._pause_s

    def _open(self) -> None:
        """Begin a segment; it has its lock and its header before it has its name."""
        self._number += 1
        host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
        self._name = f"{host}-{os.getpid()}-{self._started_ns}-{self._number:06d}"
        if self._header is None:
            self._header = dict(self._ask_header())
        clocks = {"start_wall_ns": time.time_ns(), "start_mono_ns": time.monotonic_ns()}
        fresh = self._log / OPEN / f".{self._name}"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._handle, self._size = handle, 0
            self._head = frame(HEADER, json.dumps({**self._header, **clocks}).encode())
            self._write(self._head)
            fresh.rename(self._log / OPEN / (self._name + OPEN_SUFFIX))
        except BaseException:
            self._handle, self._size = -1, 0
            os.close(handle)
            fresh.unlink(missing_ok=True)
            raise
        self._opened_at = time.monotonic()

    def _write(self, packed: bytes) -> None:
        """Put bytes behind the last whole frame, all of them or none."""
        view = memoryview(packed)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            with suppress(OSError):  # else the half of a frame is what a reader skips
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(packed)

    def _rotate(self) -> None:
        """Make the segment ready."""
        if self._handle < 0:
            return
        # On a full disk the segment ends without its counts, which the next one has.
        with suppress(OSError):
            # The header once more: without it no record of the segment could be told whose it is.
            self._write(frame(COUNTS, json.dumps(dict(self.counts)).encode()) + self._head)
        with suppress(OSError):
            os.fsync(self._handle)
        with suppress(OSError):  # else the collector makes it ready once this process has let go of it
            (self._log / OPEN / (self._name + OPEN_SUFFIX)).rename(self._log / READY / (self._name + READY_SUFFIX))
        os.close(self._handle)
        self._handle, self._size = -1, 0


def _parent() -> int:
    """A file that can be read once the process that has started this one ends; -1 where there is no such thing."""
    try:
        return os.pidfd_open(os.getppid())
    except (AttributeError, OSError):
        return -1
