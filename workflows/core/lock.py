"""Who uses a folder: any number of commands may read a part of it at once, and one alone may write it.

Each process that uses the folder keeps a small file in it, with its name inside and a lock on it. The system drops the
lock when the process ends, however it ends, and the next command removes the file: nobody has to tell a dead process
from a living one, on this machine or on another. `.lock` itself is held only while those files are looked at.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

import msgspec

from workflows.core import console
from workflows.core.disk import is_disk_full
from workflows.core.errors import ArtefactError, CascadeError

__all__ = ["hold"]

LOCK = ".lock"
WAIT_S, POLL_S = 30.0, 0.02
BUSY = (errno.EWOULDBLOCK, errno.EACCES)
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Use(msgspec.Struct, frozen=True):
    """Who uses a folder, since when, and which parts of it."""

    pid: int
    host: str
    command: str
    since: str
    writes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()

    def stands_in_the_way(self, writes: frozenset[str], reads: frozenset[str]) -> bool:
        """Whether somebody else cannot use these parts at the same time."""
        return bool(self.writes & (writes | reads) or self.reads & writes)

    def in_words(self) -> str:
        """Who it is, in words."""
        place = f" on {self.host}" if self.host != socket.gethostname() else ""
        return f"'{self.command}' (process {self.pid}{place}, since {self.since})"


class _Note:
    """The file that this process keeps in a folder, and the uses that stand in it: one for each call that is open."""

    def __init__(self, root: Path) -> None:
        self.path = root / f"{LOCK}.{uuid.uuid4().hex[:12]}"
        self.uses: list[Use] = []
        self._file = self.path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self) -> None:
        """Bring the file up to date with the uses."""
        writes, reads = (frozenset[str]().union(*(getattr(u, name) for u in self.uses)) for name in ("writes", "reads"))
        whole = msgspec.structs.replace(self.uses[0], writes=writes, reads=reads)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(msgspec.json.encode(whole))

    def remove(self) -> None:
        """Leave the folder."""
        self.path.unlink(missing_ok=True)
        self._file.close()


_notes: dict[Path, _Note] = {}


@contextmanager
def hold(root: Path, *, writes: Sequence[str] = (), reads: Sequence[str] = ()) -> Iterator[None]:
    """Keep others from writing what the body reads, and from using what it writes; calls may be nested.

    A folder that cannot be written, or whose file system has no locks, is used without one, and a line says so.

    Args:
        root: the folder, created when absent, and removed again when the body leaves nothing in it.
        writes: names of the parts that the body writes.
        reads: names of those that it reads.

    Raises:
        ArtefactError: another process is in the way; the sentence names it.
        CascadeError: the disk is full, or there can be no folder of this name.
    """
    missing = [folder for folder in (root, *root.parents) if not _is_there(folder)]
    try:
        is_held = _enter(root, frozenset(writes), frozenset(reads))
        try:
            yield
        finally:
            if is_held:
                _leave(root)
    finally:
        for folder in missing:
            with suppress(OSError):  # there is something in it
                folder.rmdir()


def _enter(root: Path, writes: frozenset[str], reads: frozenset[str]) -> bool:
    """Note the use, unless somebody is in the way; false where no locks can be had."""
    use = Use(os.getpid(), socket.gethostname(), _command(), _now(), writes, reads)
    try:
        _make_folder(root)
        with _alone(root):
            note = _notes.get(root.resolve())
            for other in _others(root, note):
                if other.stands_in_the_way(writes, reads):
                    what = "written" if other.writes & (writes | reads) else "read"
                    raise ArtefactError(
                        f"{root} is being {what} by {other.in_words()}; run this command again after it"
                    )
            try:
                note = note or _notes.setdefault(root.resolve(), _Note(root))
                note.uses.append(use)
                note.write()
            except BaseException:
                if note is None or _drop(root, note):
                    _remove_unused(root)
                raise
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            console.say(f"{root}: its file system has no locks ({error.strerror}); start no two commands on it at once")
        elif is_disk_full(error):
            raise CascadeError(f"the disk of {root} is full; free some space and run this command again") from error
        elif error.errno not in UNWRITABLE:
            raise
        return False
    return True


def _is_there(path: Path) -> bool:
    """False also for names that the system takes for none."""
    try:
        return path.exists()
    except OSError:
        return False


def _make_folder(root: Path) -> None:
    """Create a folder unless it is there.

    Raises:
        CascadeError: a file stands there or above it, or the system takes no folder of this name there.
        OSError: the place cannot be written, or its disk is full.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in UNWRITABLE or is_disk_full(error):
            raise
        blocking = next((path for path in (root, *root.parents) if os.path.lexists(path) and not path.is_dir()), None)
        reason = f"{blocking} is no folder" if blocking else error.strerror
        raise CascadeError(f"{root} cannot be made a folder ({reason}); name another one") from error


def _leave(root: Path) -> None:
    """Take the latest use back; the folder may be gone."""
    with suppress(OSError), _alone(root):
        note = _notes[root.resolve()]
        if not _drop(root, note):
            note.write()
        else:
            _remove_unused(root)


def _remove_unused(root: Path) -> None:
    """Remove `.lock` where nobody uses the folder; for the one who holds it."""
    if not list(root.glob(f"{LOCK}.*")):
        (root / LOCK).unlink()


def _drop(root: Path, note: _Note) -> bool:
    """Take the latest use out of a note; whether it was the last one, and the note is gone."""
    note.uses.pop()
    if note.uses:
        return False
    del _notes[root.resolve()]
    note.remove()
    return True


def _others(root: Path, own: _Note | None) -> Iterator[Use]:
    """Who else uses the folder; files of processes that have ended are removed."""
    for path in root.glob(f"{LOCK}.*"):
        if own is not None and path == own.path:
            continue
        with suppress(FileNotFoundError), _opened(path) as file:
            if _lock(file):
                path.unlink()
            else:
                yield msgspec.json.decode(file.read(), type=Use)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """While nobody else looks at who uses the folder."""
    path, until = root / LOCK, time.monotonic() + WAIT_S
    while True:
        with path.open("ab+", buffering=0) as file:
            if _lock(file):
                # The one before may have removed the file between our two steps; then it is nobody's lock.
                if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    yield
                    return
            elif time.monotonic() > until:
                raise ArtefactError(f"{path} has been locked by another process for {WAIT_S:.0f} s; try again after it")
        time.sleep(POLL_S)


def _lock(file: IO[bytes]) -> bool:
    """Lock a file unless another process has; false then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in BUSY:
            raise
        return False
    return True


def _opened(path: Path) -> IO[bytes]:
    """For reading and locking: some file systems lock only what may be written, and others' files may not be."""
    try:
        return path.open("rb+", buffering=0)
    except PermissionError:
        return path.open("rb", buffering=0)


def _command() -> str:
    """The words of the command line up to the first option."""
    name = Path(sys.argv[0]).name
    words = takewhile(lambda word: not word.startswith("-"), sys.argv[1:])
    return " ".join([name if name not in ("", "-c", "-m") else "cascade", *words])


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
