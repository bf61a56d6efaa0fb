"""Files that lines are only ever added to: all of them or none, by one process at a time, whatever ends it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["append_lines", "held_for_lines"]


@contextmanager
def held_for_lines(path: Path) -> Iterator[int]:
    """The file, made where it is absent, open to be appended to by this process alone; another one waits.

    Raises:
        OSError: it cannot be opened.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def append_lines(file: int, lines: Sequence[bytes]) -> None:
    r"""Add lines, on disk when this returns: all or none of them, also on a disk that is full.

    Args:
        file: held.
        lines: without their ends; no "\n" is in them.

    Raises:
        OSError: the disk is full; the file is what it was.
    """
    size = os.fstat(file).st_size
    # What a killed process left of a line becomes one that says nothing.
    torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    content = b"".join(line + b"\n" for line in lines)
    try:
        if torn:
            os.ftruncate(file, _end_of_lines(file, size))
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _end_of_lines(file: int, size: int) -> int:
    return os.pread(file, size, 0).rfind(b"\n") + 1
