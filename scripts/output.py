"""What becomes of a command whose output nobody takes: a reader that went away is silent, a full disk one sentence."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import typer

from workflows.core import console
from workflows.core.disk import is_disk_full, said_by_the_system

__all__ = ["UNREAD", "run_alone", "run_app", "status_of"]

UNREAD = 141  # as a shell says of a process that SIGPIPE ended


def run_app(app: Callable[[], object]) -> NoReturn:
    """Run a Typer application as the process that it is, and end it.

    Raises:
        SystemExit: always, but for a bug.
    """
    _open_closed()
    try:
        app()
    except SystemExit as end:
        raise _end_of(end) from None
    except OSError as error:  # of a help text: a command says its own
        status = status_of(error)
        if status is None:
            raise
        raise SystemExit(status) from None
    raise SystemExit(0)


def run_alone(command: Callable[..., object]) -> NoReturn:
    """Run the command of a file that was started by itself, such as `torchrun scripts/train_retrieval.py`."""
    run_app(partial(typer.run, command))


def status_of(error: OSError) -> int | None:
    """Say what the system refused, if no program can mend it, and the status to end with; None: it may be a bug.

    Raises:
        RuntimeError: no output but a connection, or a pipe to another process of ours, broke; Typer would end with 1
            and no word.
    """
    if isinstance(error, BrokenPipeError):
        if not any(map(_is_unread, _outputs())):
            raise RuntimeError("a connection or a pipe of this command broke, and none of its outputs") from error
        _give_up_outputs()
        return UNREAD
    sentence = said_by_the_system(error) if error.filename or is_disk_full(error) else None
    if sentence is None and (refused := _flushed() or _refused()) is not None:
        sentence = f"standard output cannot be written ({refused.strerror}); send it somewhere else"
    if sentence is None:
        return None
    with suppress(OSError):  # standard error may be on the same disk
        console.fail(sentence)
    _give_up_outputs()
    return 1


def _open_closed() -> None:
    """Give a command that was started without its standard files an empty input, and outputs that keep nothing.

    Else the next file that is opened gets the number of the output, and what is printed goes into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  # for the life of the process


def _end_of(end: SystemExit) -> SystemExit:
    """How a command ends whose work is over, once its output is flushed."""
    if isinstance(end.__context__, BrokenPipeError):  # Typer and rich end with 1 where nobody reads
        _give_up_outputs()
        return SystemExit(UNREAD)
    refused = _flushed()
    status = status_of(refused) if refused else None
    return end if status is None else SystemExit(status)


def _outputs() -> Iterator[IO[Any]]:
    yield from (stream for stream in (sys.stdout, sys.stderr) if stream is not None)


def _flushed() -> OSError | None:
    """What standard output does not take; None where all that was printed is out."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _refused() -> OSError | None:
    """What standard output says to a write of nothing, where what it did not take is in no buffer any more."""
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # no file of the system
        return None
    except OSError as error:
        return error
    return None


def _is_unread(stream: IO[Any]) -> bool:
    """Whether a stream is a pipe whose reader is gone."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors and hang-ups are told unasked
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except OSError:  # no file of the system
        return False


def _give_up_outputs() -> None:
    """Keep what an output did not take from being tried again, and told of, when Python ends."""
    for stream in _outputs():
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                stream.flush()
