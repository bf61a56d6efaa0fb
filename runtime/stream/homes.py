"""Where the chain finds its live state: an LMDB environment on this machine, or a store that it shares with others."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol

from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import log_id
from runtime.stream.redis import RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore, ReadStore, StoreError

__all__ = ["Home", "LmdbHome", "Nowhere", "RedisHome"]

DATA_FILE = "data.mdb"
# A state that is there and cannot be opened or read is tried again after this long.
RETRY_S = 0.1


class Home(Protocol):
    """A place where a state is, or may be later."""

    @property
    def opened(self) -> int:
        """How many states have been there so far: of another one, nothing is known."""

    @property
    def log_id(self) -> str:
        """Of the log that the state's positions are offsets of."""

    @property
    def is_remote(self) -> bool:
        """Whether an answer takes a way, so that one question should ask for all."""

    def current(self) -> ReadStore | None:
        """The store that is there now; None where there is none.

        Raises:
            StoreError: it is there and cannot be opened.
        """

    def failed(self) -> None:
        """What `current` gave could not be read."""


class Nowhere:
    """No state."""

    opened, log_id, is_remote = 0, "", False

    def current(self) -> ReadStore | None:
        """See Home."""
        return None

    def failed(self) -> None:
        """See Home."""


class LmdbHome:
    """An environment on this machine; opened when it is there, and again when another has taken its place.

    Args:
        folder: of the LMDB environment.
    """

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / DATA_FILE
        self._store: LmdbStore | None = None
        self._identity: tuple[int, int] | None = None
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self.opened, self.log_id = 0, ""

    def current(self) -> ReadStore | None:
        """See Home."""
        try:
            found = self._file.stat()
            identity = (found.st_dev, found.st_ino)
        except OSError:
            identity = None
        if identity == self._identity:
            return self._store
        with self._lock:
            if identity != self._identity:
                self._close()
            if identity is None or time.monotonic() < self._retry_at:
                return None
            if self._store is None:
                self._store = LmdbStore(self._folder, writable=False)
                self.log_id = _log_id(self._folder.parents[1])
                self.opened, self._identity = self.opened + 1, identity
            return self._store

    def failed(self) -> None:
        """See Home."""
        self._close()
        self._retry_at = time.monotonic() + RETRY_S

    def _close(self) -> None:
        store, self._store, self._identity = self._store, None, None
        if store is not None:
            store.close()


class RedisHome:
    """A store that several machines share; what of it is away is looked for beside the requests.

    Args:
        url: see `runtime.stream.redis_url`.
        spec: of the stream.

    Raises:
        StoreError: the URL cannot be read.
    """

    is_remote = True

    def __init__(self, url: str, spec: StreamSpec) -> None:
        self._store = RedisStore(read_url(url), spec)

    @property
    def opened(self) -> int:
        """See Home."""
        return self._store.opened

    @property
    def log_id(self) -> str:
        """See Home."""
        return self._store.log_id

    def current(self) -> ReadStore | None:
        """See Home."""
        return self._store

    def failed(self) -> None:
        """See Home."""


def _log_id(events: Path) -> str:
    try:
        return log_id(events)
    except LogError as error:
        raise StoreError(str(error)) from error
