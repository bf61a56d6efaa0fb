"""One version that answers in a process of its own, with its own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ensemble.serving.binary import THREADS
from operations.replay import worker
from operations.replay.errors import AnswerError
from operations.replay.versions import Version
from workflows.core.errors import ArtefactError

__all__ = ["VersionProcess", "started"]


class VersionProcess:
    """A version that can be asked.

    Args:
        process: of the worker.
        version: for sentences.

    Attributes:
        environment: see `runtime.log.identity.environment`; empty where the version cannot say.
        cpu_s: what its answers have taken.
    """

    def __init__(self, process: subprocess.Popen[str], version: Version) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._version = process, version
        self.cpu_s = 0.0
        self._questions: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def open(self, plan: Path, folders: Mapping[str, Path]) -> None:
        """Have the version opened.

        Raises:
            ArtefactError: it cannot be.
        """
        self.environment: dict[str, str] = self.ask(
            {
                "plan": str(plan.absolute()),
                "folders": {model: str(path.absolute()) for model, path in folders.items()},
                "libraries": [str(path.absolute()) for path in self._version.libraries],
            }
        )

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer.

        Raises:
            AnswerError: it raises at this question.
            ArtefactError: it answers no more.
        """
        try:
            self._questions.write(json.dumps(question) + "\n")
            self._questions.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read().strip().splitlines()
            reason = said[-1] if said else f"exit status {self._process.wait()}"
            raise ArtefactError(f"{self._version.folder} cannot be asked here: {reason}")
        answer: dict[str, Any] = json.loads(line)
        self.cpu_s += answer.pop("cpu_s", 0.0)
        if "error" in answer:
            raise AnswerError(f"{self._version.folder} cannot be asked here: {answer['error']}")
        return answer


@contextmanager
def started(version: Version) -> Iterator[VersionProcess]:
    """A version, checked against its manifest and opened.

    Raises:
        ArtefactError: a file is altered, or it cannot be opened.
    """
    version.check()
    environment = {**os.environ, **THREADS, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    # Isolated: what is in this folder must not stand in for the version's code.
    command = [sys.executable, "-I", str(Path(worker.__file__).absolute())]
    pipe = subprocess.PIPE
    with version.opened() as (plan, folders):
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        try:
            found = VersionProcess(process, version)
            found.open(plan, folders)
            yield found
        finally:
            process.kill()
            process.communicate()
