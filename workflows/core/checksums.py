"""SHA-256 of files, each read once a process: a run checks the same files before every stage that reads them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["digest"]

CHUNK_BYTES = 1 << 22
# A file that has changed so recently may change again without another time: the coarsest clock of a file system, that
# of FAT, ticks every two seconds. It is read again the next time.
SETTLED_NS = 2_000_000_000


class _Identity(NamedTuple):
    """A file with its content: no write, no copy over it and no other file in its place leaves all of this as it was.

    The time of change is the system's own, which no program can set back, and the renaming of a stage's folder leaves
    it alone; the path is left out for the same reason.
    """

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


_known: dict[_Identity, str] = {}


def digest(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's bytes, in hex.

    Args:
        path: the file. Its bytes are read unless this process has read them since the file last changed.
        advance: hears how many bytes were read, or known, since it was last called.
    """
    with path.open("rb") as file:
        before = _identity(file)
        if (known := _known.get(before)) is not None:
            if advance:
                advance(before.size_bytes)
            return known
        is_settled = time.time_ns() - max(before.modified_ns, before.changed_ns) > SETTLED_NS
        found = _read(file, advance)
        if is_settled and _identity(file) == before:
            _known[before] = found
    return found


def _read(file: BinaryIO, advance: Callable[[int], None] | None) -> str:
    sha = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        sha.update(chunk)
        if advance:
            advance(len(chunk))
    return sha.hexdigest()


def _identity(file: BinaryIO) -> _Identity:
    stat = os.fstat(file.fileno())
    return _Identity(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
