"""Slates in an LMDB folder, for readers: no server, no lock, any number of processes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb

from cascade_client.slate_entry import BLOCKED, CURRENT, entry_key, meta_key
from cascade_client.slate_stores import CacheAway, Found

__all__ = ["READ_ERRORS", "Environments", "LmdbSlates", "environments"]

DATA_FILE = "data.mdb"
# An address range as large as that of the writer: what it adds is never outside.
MAP_BYTES = 1 << 40
MAX_READERS = 1024
# What reading raises where something is absent, damaged or another one than it was.
READ_ERRORS = (OSError, ValueError, KeyError, lmdb.Error)


class Environments:
    """The environments of this process, each opened once, as LMDB wants it, and anew after a fork."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._opened: dict[Path, tuple[tuple[int, int], Any]] = {}

    def reading(self, folder: Path) -> Any:
        """A folder's environment to read from; opened again when another one has taken its place.

        Raises:
            OSError, lmdb.Error: it is not there, or cannot be opened.
        """
        found = (folder / DATA_FILE).stat()
        identity = (found.st_dev, found.st_ino)
        known = self._opened.get(folder)
        if known is not None and known[0] == identity and self._pid == os.getpid():
            return known[1]
        with self._lock:
            if self._pid != os.getpid():
                # What was opened before a fork is the parent's, also to be closed.
                self._pid, self._opened = os.getpid(), {}
            known = self._opened.get(folder)
            if known is None or known[0] != identity:
                settings: dict[str, Any] = {"map_size": MAP_BYTES, "max_readers": MAX_READERS, "readahead": False}
                env = lmdb.open(str(folder), readonly=True, create=False, **settings)
                self._opened[folder] = (identity, env)
            return self._opened[folder][1]

    def share(self, folder: Path, env: Any) -> None:
        """Let readers of this process use the environment that it writes.

        Raises:
            OSError: it is not there.
        """
        found = (folder / DATA_FILE).stat()
        with self._lock:
            self._opened[folder] = ((found.st_dev, found.st_ino), env)

    def forget(self, folder: Path) -> None:
        """What is opened next is another one."""
        with self._lock:
            self._opened.pop(folder, None)


# One for all caches and live states that this process reads.
environments = Environments()


class LmdbSlates:
    """See SlateStore.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).resolve()

    def read(self, users: Sequence[bytes]) -> Found:
        """See SlateStore."""
        try:
            with environments.reading(self._folder).begin() as transaction:
                current = transaction.get(meta_key(CURRENT))
                if current is None:
                    return Found(None, [None] * len(users))
                version = str(json.loads(current)["version"])
                entries = [transaction.get(entry_key(version, user)) for user in users]
                return Found(current, entries, transaction.get(meta_key(BLOCKED)))
        except FileNotFoundError:
            raise CacheAway(
                f"there is no cache of slates in {self._folder}; `cascade slates build` makes one"
            ) from None
        except READ_ERRORS as error:
            environments.forget(self._folder)
            raise CacheAway(f"the cache of slates in {self._folder} cannot be read ({error})") from error

    def close(self) -> None:
        """See SlateStore; the environment stays open for others of this process."""
