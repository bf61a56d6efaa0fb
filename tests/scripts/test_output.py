"""A command whose output nobody takes, as a shell starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from scripts.common import one_sentence_errors

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "help": ["serve", "--help"],
    "a table": ["doctor", "--for", "export"],
    "little JSON": ["block", "--repo", "repository", "--json"],
}
EACH = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
FULL = "error: the disk of what this command writes to is full; free some space and run the same command again\n"


def ended(
    command: list[str], stdout: IO[str] | None, stderr: IO[str] | int = subprocess.PIPE, module: str = "cli"
) -> tuple[int, str]:
    """Status and standard error of a process; None for stdout: there is none, nor a stdin."""
    closing = [] if stdout else ["sh", "-c", 'exec "$@" <&- >&-', "sh"]
    found = subprocess.run(
        [*closing, sys.executable, "-m", f"scripts.{module}", *command],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
        check=False,
    )
    return found.returncode, found.stderr or ""


@pytest.fixture(autouse=True)
def _beside_a_repository(toy_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("repository").symlink_to(toy_repository)


@pytest.fixture
def full() -> Iterator[IO[str]]:
    with Path("/dev/full").open("w") as file:
        yield file


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        yield file


@EACH
def test_a_full_disk_is_one_sentence(command: list[str], full: IO[str]) -> None:
    assert ended(command, full) == (1, FULL)


@EACH
def test_a_reader_that_is_gone_is_silent(command: list[str], unread: IO[str]) -> None:
    assert ended(command, unread) == (141, "")


def test_where_errors_go_the_same_way_the_status_is_the_same(full: IO[str], unread: IO[str]) -> None:
    assert ended(COMMANDS["help"], full, full) == (1, "")
    assert ended(COMMANDS["help"], unread, unread) == (141, "")


@pytest.mark.parametrize("module", ["train_retrieval", "log"])
def test_a_file_that_is_started_by_itself_ends_alike(module: str, full: IO[str]) -> None:
    assert ended(["--help"], full, module=module) == (1, FULL)


def test_an_output_that_cannot_be_written_is_one_sentence() -> None:
    with Path("/dev/null").open() as read_only:
        status, said = ended(COMMANDS["little JSON"], read_only)
    assert (status, said) == (
        1,
        "error: standard output cannot be written (Bad file descriptor); send it somewhere else\n",
    )


def test_without_an_output_a_command_does_its_work() -> None:
    assert ended(COMMANDS["little JSON"], None) == (0, "")


def test_what_printed_nothing_needs_no_output(full: IO[str]) -> None:
    status, said = ended(["monitor-files", "files"], full)
    assert status == 0 and Path("files/dashboards/usage.json").is_file() and "error" not in said


def test_a_connection_that_breaks_is_no_reader_that_is_gone() -> None:
    @one_sentence_errors
    def gate() -> None:
        one, other = socket.socketpair()
        with one:
            other.close()
            one.send(b"asked")

    with pytest.raises(RuntimeError, match="a connection or a pipe of this command broke"):
        gate()


def test_a_sentence_of_an_error_comes_before_an_output_that_is_full(full: IO[str]) -> None:
    status, said = ended(["tables", "nowhere", "--json"], full)
    assert status == 1 and said.startswith("error: nowhere") and said.count("\n") == 1
