"""Slates in an LMDB folder: one machine, no server."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade_client.slate_stores import CacheUrl
from ensemble.slates.cache.base import Item, away, busy
from workflows.core.disk import is_disk_full
from workflows.core.errors import CascadeError

__all__ = ["LmdbCache"]

# An address range, not memory or disk.
MAP_BYTES = 1 << 40
MAX_READERS = 1024
SCANNED_AT_ONCE = 1024
# A disk with less room than this is full.
FULL_BYTES = 1 << 20


class LmdbCache:
    """See Cache.

    Args:
        url: names the folder.
        create: whether it is made where it is absent.

    Raises:
        ServingError: it is absent, or cannot be opened.
    """

    def __init__(self, url: CacheUrl, *, create: bool) -> None:
        import lmdb

        from cascade_client.store_lmdb import environments

        self._url, self._error, self._shared = url, lmdb.Error, environments
        self._folder = Path(url.place).resolve()
        if not create and not (self._folder / "data.mdb").is_file():
            raise away(url, "there is none; `cascade slates build` makes one")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # LMDB opens an environment once a process: readers of this one share what is opened here.
            environments.forget(self._folder)
            self._env: Any = lmdb.open(str(self._folder), map_size=MAP_BYTES, max_readers=MAX_READERS, readahead=False)
            self._env.reader_check()
            environments.share(self._folder, self._env)
        except (OSError, lmdb.Error) as error:
            raise self._failed(error) from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Cache."""
        try:
            with self._env.begin() as transaction:
                return [transaction.get(key) for key in keys]
        except self._error as error:
            raise self._failed(error) from error

    def put(self, items: Sequence[Item]) -> None:
        """See Cache; all or nothing."""
        try:
            with self._env.begin(write=True) as transaction:
                for item in items:
                    if item.value is None:
                        transaction.delete(item.key)
                    else:
                        transaction.put(item.key, item.value)
        except self._error as error:
            raise self._failed(error) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Cache; in the order of the keys, and no snapshot is held between two parts."""
        start = prefix
        while True:
            part = self._part(prefix, start)
            yield from part
            if len(part) < SCANNED_AT_ONCE:
                return
            start = part[-1][0] + b"\0"

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """See Cache; the system lets go when the process ends, however it ends."""
        with (self._folder / f"{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy(self._url, name) from None
            yield

    def close(self) -> None:
        """See Cache."""
        self._shared.forget(self._folder)
        self._env.close()

    def _part(self, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        try:
            with self._env.begin() as transaction, transaction.cursor() as cursor:
                for key, value in cursor if cursor.set_range(start) else ():
                    if not key.startswith(prefix) or len(found) == SCANNED_AT_ONCE:
                        break
                    found.append((key, value))
        except self._error as error:
            raise self._failed(error) from error
        return found

    def _failed(self, error: Exception) -> CascadeError:
        # A write that the disk took only a part of is an input/output error to LMDB.
        if is_disk_full(error) or shutil.disk_usage(self._folder).free < FULL_BYTES:
            return CascadeError(f"the disk of {self._folder} is full; free some space and run the same command again")
        return away(self._url, error)
