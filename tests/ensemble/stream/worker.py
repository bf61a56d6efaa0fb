"""A worker in a process of its own, as `cascade stream run` is, but for a run whose spec it would read."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runtime.stream.spec import StreamSpec

PATIENCE_S = 120.0
PROGRAM = """
import pickle, sys
from pathlib import Path
sys.path[:0] = pickle.load(sys.stdin.buffer)
from ensemble.serving.signals import stop_signals
from runtime.stream.topic_url import read_topic_url
from ensemble.stream.worker import Worker
from runtime.stream.redis import RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.rejected import Rejected
source, store, spec, folder, batch = pickle.load(sys.stdin.buffer)
with stop_signals() as stop:
    shared = RedisStore(read_url(store), spec, 5.0)
    worker = Worker(read_topic_url(source), shared, spec, Rejected(Path(folder)), batch)
    try:
        worker.run(stop)
    finally:
        worker.close()
"""


class Process:
    """A worker that runs until it is stopped or killed."""

    def __init__(self, source: str, store: str, spec: StreamSpec, folder: Path, batch: int = 512) -> None:
        # A file and no pipe: it is read while it is written, whoever reads it and how often.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=self._said, stderr=subprocess.STDOUT
        )
        assert self._process.stdin is not None
        for value in (sys.path, (source, store, spec, str(folder), batch)):
            pickle.dump(value, self._process.stdin)
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self.wait()

    def stop(self) -> tuple[int, str]:
        """End it as an orchestrator does; its status and all that it has said."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def until(self, words: str) -> str:
        """All that it has said, once a line has these words."""
        until = time.monotonic() + PATIENCE_S
        while words not in (said := self._read()):
            assert self._process.poll() is None and time.monotonic() < until, said
            time.sleep(0.02)
        return said

    def wait(self) -> tuple[int, str]:
        """Until it ends by itself; its status and all that it has said."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        status, said = self._process.wait(PATIENCE_S), self._read()
        self._said.close()
        return status, said

    def _read(self) -> str:
        if self._said.closed:
            return ""
        return os.pread(self._said.fileno(), 1 << 24, 0).decode(errors="replace")
