"""A worker in a process of its own, as `cascade stream run` is, but for a run whose spec it would read."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path

from runtime.stream.spec import StreamSpec

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
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdin is not None
        for value in (sys.path, (source, store, spec, str(folder), batch)):
            pickle.dump(value, self._process.stdin)
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> tuple[int, str]:
        """End it as an orchestrator does; its status and what it has said."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=30)
        return self._process.returncode, said.decode()

    def until(self, words: str) -> str:
        """What it has said, until a line has these words."""
        assert self._process.stdout is not None
        said = b""
        for line in self._process.stdout:
            said += line
            if words.encode() in line:
                return said.decode()
        raise AssertionError(said.decode())

    def wait(self) -> tuple[int, str]:
        """Until it ends by itself."""
        said, _ = self._process.communicate(timeout=30)
        return self._process.returncode, said.decode()
