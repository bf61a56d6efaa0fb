"""One process at a time: a file with a lock that the system drops when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from runtime.stream.log.errors import BusyError, LogError

__all__ = ["FolderLock"]

HOLDER_BYTES = 80
BUSY = (errno.EWOULDBLOCK, errno.EACCES)


class FolderLock:
    """A lock on a file, held until `release`.

    Args:
        path: of the file; made when it is not there, and left there.
        what: is done while it is held, such as "written", for the sentence.

    Raises:
        BusyError: another process holds it.
        LogError: it cannot be had.
    """

    def __init__(self, path: Path, what: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise LogError(f"{path} cannot be made ({error.strerror})") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()} {what}".encode(), 0)
        except OSError as error:
            holder, _, does = os.pread(self._handle, HOLDER_BYTES, 0).decode(errors="replace").partition(" ")
            os.close(self._handle)
            if error.errno in BUSY:
                raise BusyError(
                    f"{path.parent} is being {does or what} by process {holder or '?'}; only one can at a time: stop "
                    f"that one, or name another folder"
                ) from error
            raise LogError(f"{path} cannot be locked ({error.strerror})") from error

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._handle)
