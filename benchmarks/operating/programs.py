"""Commands of Cascade as processes: those that go on beside each other, and those that end by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from workflows.core.errors import ServingError

__all__ = ["Ended", "Program", "run_command"]

COMMAND = [sys.executable, "-c", "from scripts.cli import main; main()"]
STOPPED_WITHIN_S = 60.0
LAST_SAID = 300


class Ended(NamedTuple):
    """A command that has come to its end.

    Attributes:
        status: 0 where all was well.
        took_s: from its start on.
        said: what it printed.
    """

    status: int
    took_s: float
    said: str


def run_command(*words: str, environment: Mapping[str, str] | None = None) -> Ended:
    """`cascade WORDS`, to its end."""
    began_at = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})}, check=False,
    )  # fmt: skip
    return Ended(done.returncode, time.monotonic() - began_at, done.stdout)


class Program:
    """`cascade WORDS`, which goes on until the end of the context.

    Args:
        words: of the command.
        scratch: folder for what it says.
        environment: variables beside those of this process.
        is_told: whether it prints a READY line.

    Attributes:
        name: the first of the words.
        ready: the READY line, after its first word.
        status: once it has ended, 0 where all was well.
    """

    def __init__(
        self, words: Sequence[str], scratch: Path, environment: Mapping[str, str] | None = None, *, is_told: bool = True
    ) -> None:
        self.name, self._words, self._is_told = words[0], words, is_told
        self._scratch, self._environment = scratch, environment or {}
        self.ready, self.status = "", 0

    def __enter__(self) -> Program:
        self._said = (self._scratch / f"{self.name}.log").open("w+")
        self._process = subprocess.Popen(
            [*COMMAND, *self._words], stdout=subprocess.PIPE if self._is_told else self._said, stderr=self._said,
            text=True, env={**os.environ, **self._environment},
        )  # fmt: skip
        if self._process.stdout is not None:
            first, _, self.ready = self._process.stdout.readline().strip().partition(" ")
            if first != "READY":
                self._process.wait()
                raise ServingError(f"cascade {' '.join(self._words)} did not start: {self.said[-LAST_SAID:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self.status = self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.status = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    @property
    def pid(self) -> int:
        """Of the command itself; its children are the tree below."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """What it printed besides READY."""
        return (self._scratch / f"{self.name}.log").read_text(errors="replace")
