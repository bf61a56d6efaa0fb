"""A helper in a process of its own: one JSON line in, one JSON line out; gone when its owner is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import msgspec

from workflows.core.errors import CascadeError

__all__ = ["Slice", "Worker", "answer_jobs"]

# As in the server: several threads on few cores lose more to contention than they gain.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
STOP_S = 10


class Slice(msgspec.Struct, frozen=True):
    """A short stretch of load on one variant.

    Attributes:
        latencies_ms: of every answered request.
        num_users: users answered.
        wall_s: from the first request to the last answer.
        own_cpu_s: processor time of the process that sent the requests.
        error: the first refusal; empty where every request was answered.
    """

    latencies_ms: list[float]
    num_users: int
    wall_s: float
    own_cpu_s: float
    error: str = ""


class Worker:
    """A module of ours as a child process. Use as a context manager.

    Args:
        module: run with `python -m`; its main calls `answer_jobs`.
        arguments: of its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
        )
        self._module = module

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def ask(self, **job: Any) -> Any:
        """Send a job and wait for its result.

        Raises:
            CascadeError: the child has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise CascadeError(f"benchmark: the helper {self._module} ended while it worked; its own message is above")
        return json.loads(line)

    def slice(self, **job: Any) -> Slice:
        """A job whose result is a Slice."""
        return msgspec.convert(self.ask(**job), Slice)

    def close(self) -> None:
        """End the child: it stops at the end of its input."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answer_jobs(answer: Callable[[dict[str, Any]], Any]) -> None:
    """In the child: answer every line of standard input until its end; prints of libraries go to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(msgspec.json.encode(answer(json.loads(line))).decode() + "\n")
        out.flush()
