"""Emulators of Snowflake and BigQuery: programs of environments of their own, each on a port of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.ports import free_port

__all__ = ["Emulator", "start_bigquery", "start_snowflake"]

START_TIMEOUT_S, POLL_S = 90.0, 0.1


class Emulator:
    """A server on 127.0.0.1 that answers once it prints a text.

    Args:
        name: of the program, on PATH or in the environment variable CASCADE_NAME.
        arguments: of it.
        ready: the text.
        home: its home folder.
    """

    def __init__(self, name: str, arguments: list[str], ready: str, home: Path) -> None:
        self.home = home
        program = os.environ.get(f"CASCADE_{name.upper()}") or shutil.which(name)
        assert program
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
        with (home / "log").open("w") as log:
            self.process = subprocess.Popen(
                [program, *arguments], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=home
            )
        end = time.monotonic() + START_TIMEOUT_S
        while ready not in (home / "log").read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                said = (home / "log").read_text()
                self.close()
                raise RuntimeError(said)
            time.sleep(POLL_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def start_snowflake(port: int) -> Emulator:
    home = Path(tempfile.mkdtemp(prefix="cascade-snowflake-"))
    return Emulator("fakesnow", ["--server", "--port", str(port)], "Uvicorn running", home)


def start_bigquery(port: int) -> Emulator:
    """Its database needs the extension "spatial", which lies in a package beside it."""
    home = Path(tempfile.mkdtemp(prefix="cascade-bigquery-"))
    program = Path(os.environ.get("CASCADE_BQEMULATOR") or shutil.which("bqemulator") or "")
    for file in program.resolve().parent.parent.glob("lib/*/site-packages/duckdb_extension_spatial/extensions/*/*"):
        folder = home / ".duckdb" / "extensions" / file.parent.name / "linux_amd64"
        folder.mkdir(parents=True)
        shutil.copy(file, folder)
    ports = ["--rest-port", str(port), "--grpc-port", str(free_port())]
    return Emulator("bqemulator", ["start", *ports], "Uvicorn running", home)
