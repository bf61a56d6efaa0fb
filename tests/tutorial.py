"""Pages of docs/ that are followed as a reader would: block after block, in the current folder."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from scripts.cli import app
from tests.ensemble.serving.processes import FREE_PORTS, ready_urls

__all__ = ["Reader", "follow", "reading"]

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# (\S+\.toml)\n")
STATUS = re.compile(r"#\s*status (\d+)")
STOP = "# Ctrl-C"


class Reader:
    """Follows pages one after the other, with a server for those that start one.

    Args:
        apart: whether each command is a process of its own, as in a shell; what opens the state of live events has to
            be. In this process a command is some seconds faster.

    Attributes:
        names: what the Python blocks have made, which share it.
        said: what the commands printed.
    """

    def __init__(self, apart: bool = False) -> None:
        self._apart = apart
        self.names: dict[str, Any] = {}
        self.said = ""
        self._server: subprocess.Popen[str] | None = None
        self._addresses: dict[str, str] = {}
        self._environment = dict(os.environ)

    def follow(self, text: str) -> str:
        """Run Python and the lines of `console`, and save TOML and what has a title under its name.

        The name of a TOML file is in its first line; without one it is a part of a file that is there. `bash` is for
        those who follow another way, `text` is what a command prints. A line with the comment `# status N` ends with
        that status, every other one with 0. The line `# Ctrl-C` stops the server.

        Returns:
            What the commands said.
        """
        before = len(self.said)
        for language, title, code in BLOCK.findall(text):
            if title:
                Path(title).write_text(code)
            elif language == "toml":
                if named := NAME.match(code):
                    Path(named[1]).write_text(code)
            elif language == "python":
                exec(self._addressed(code), self.names)
            elif language == "console":
                for line in code.splitlines():
                    self._line(line)
            else:
                assert language in {"bash", "text", "sql"}, language
        return self.said[before:]

    def stop(self) -> None:
        """Stop the server as Ctrl-C does, and forget its addresses."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.communicate(timeout=120)
            self._server, self._addresses = None, {}

    def close(self) -> None:
        """Leave nothing behind: neither a server nor a variable."""
        self.stop()
        os.environ.clear()
        os.environ.update(self._environment)

    def _line(self, line: str) -> None:
        words = shlex.split(self._addressed(line), comments=True)
        if line.startswith(STOP):
            assert self._server is not None, "no server to stop"
            self.stop()
        elif words[:2] == ["cascade", "serve"]:
            self._serve(words[2:])
        elif words[:1] == ["cascade"] and not set(words) & {"|", ">", "&&"}:
            self._command(line, words[1:])
        elif words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            os.environ[name] = value
        elif words:
            done = subprocess.run(["bash", "-c", self._addressed(line)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stderr)
            self.said += done.stdout

    def _command(self, line: str, words: list[str]) -> None:
        if self._server is not None and "--url" not in words and _asks_a_server(words):
            words = [*words, "--url", self._addresses["localhost:8001"]]
        wanted = STATUS.search(line)
        status, output = _in_a_process(words) if self._apart else _here(words)
        self.said += output
        assert status == (int(wanted[1]) if wanted else 0), (line, output)

    def _serve(self, words: list[str]) -> None:
        self.stop()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "scripts.serve", *words, *FREE_PORTS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        urls = ready_urls(self._server)
        places = [url.partition("://")[2].removesuffix("/metrics") for url in urls]
        self._addresses = dict(zip(("localhost:8000", "localhost:8001", "localhost:8002"), places, strict=True))

    def _addressed(self, text: str) -> str:
        """The text with the server's own ports."""
        for written, found in self._addresses.items():
            text = text.replace(written, found)
        return text


@contextmanager
def reading(apart: bool = False) -> Iterator[Reader]:
    """A reader of some pages; what was started is stopped at the end."""
    reader = Reader(apart)
    try:
        yield reader
    finally:
        reader.close()


def follow(text: str) -> tuple[dict[str, Any], str]:
    """Follow one page.

    Returns:
        The names of the Python blocks, and what the commands said.
    """
    with reading() as reader:
        said = reader.follow(text)
        return reader.names, said


def _here(words: list[str]) -> tuple[int, str]:
    """Status and output of a command."""
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception!r}"


def _in_a_process(words: list[str]) -> tuple[int, str]:
    command = [sys.executable, "-c", "from scripts.cli import main; main()", *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(), check=False
    )
    return done.returncode, done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "300", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def _asks_a_server(words: list[str]) -> bool:
    """Whether a command asks the server at the usual address where it is told none."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if (command := getattr(command, "commands", {}).get(word, command)) and not hasattr(command, "commands"):
            break
    return any("--url" in param.opts and param.default == "localhost:8001" for param in command.params)
