"""Where the records are kept: an LMDB environment, which one process writes and the chain's processes read.

A state that has outgrown one machine is on Redis: see `runtime.stream.redis`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "ALWAYS",
    "COUNTED",
    "ITEM",
    "SEEN",
    "STOCK",
    "USER",
    "LmdbStore",
    "NoStateError",
    "ReadStore",
    "Reading",
    "Store",
    "StoreError",
    "counted_key",
    "item_key",
    "stock_key",
]

# First byte of every key: a user's record, the seen items that left its history, an item's record; and, by the offset
# of the event that holds, whose stock it is, and by that of the latest event, whose windows have counted it: a reader
# finds there what has changed since it looked.
USER, SEEN, ITEM, STOCK, COUNTED = b"u", b"s", b"i", b"d", b"w"
# One number, 8 bytes: events with smaller offsets are in the state.
POSITION = b"position"
# Another: users whose latest event was before this instant may have been removed.
EXPIRED = b"expired"
# When a state is up to date that takes in an event before it is acknowledged.
ALWAYS = 2**63 - 1
# An address range, not memory or disk: the file is as large as what is in it.
MAP_BYTES = 1 << 40
MAX_READERS = 1024
# Users that are removed by one transaction; who writes events waits no longer than it takes.
AT_ONCE = 1000
# A disk with less room than this is full: a write that it took only a part of is an input/output error to LMDB.
FULL_BYTES = 1 << 20
FULL_WORDS = ("No space left", "Disk quota exceeded")
# The environments that this process writes.
_written: dict[Path, Any] = {}


class StoreError(OSError):
    """The store cannot be opened, read or written; one sentence."""


class NoStateError(StoreError):
    """The store is there, and has no state yet."""


class Reading(Protocol):
    """A snapshot of the state."""

    @property
    def position(self) -> int:
        """Events with smaller offsets are in it."""

    @property
    def fresh_at(self) -> int:
        """The instant up to which everything that came is in it, nanoseconds since 1970; or ALWAYS."""

    @property
    def expired_at(self) -> int:
        """Users whose latest event was before this instant may have been removed; 0: nobody was."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values by key; None where there is none."""

    def found(self, keys: Sequence[bytes]) -> tuple[list[bytes | None], list[int]]:
        """Values by key, and the places of those that are on a node which is away."""

    def changed(self, index: bytes, since: int | None) -> list[bytes]:
        """Keys of the items that an index has for events at and after a position; None: all."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All keys that start with this, and their values, in the order of the keys; from `start` on."""


class ReadStore(Protocol):
    """A place for records, for those who read them."""

    def read(self) -> AbstractContextManager[Reading]:
        """The state as it is now, for the time of a with block.

        Raises:
            StoreError: it cannot be read.
        """

    def close(self) -> None:
        """Give the store back."""


class Store(ReadStore, Protocol):
    """A place for records, which one fold writes."""

    def commit(self, writes: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """Write all of these and the new position; None removes a key.

        What reads on sees all of it or nothing, or, on Redis, what the same events change no more when they come again.

        Raises:
            StoreError: the disk is full, or the store cannot be written.
            ValueError: a key or a value cannot be kept.
        """


class LmdbStore:
    """Records in one LMDB environment: readers in other processes wait for nobody, a commit is whole or not there.

    A commit survives the end of any process at once, and a crash of the machine once `sync` has returned. A process
    opens an environment once: where it is the writer, its readers share what the writer has opened.

    Args:
        folder: of the environment; made where the store may be written.
        writable: whether this is the one process that writes.

    Raises:
        StoreError: it is not there, or cannot be opened.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        import lmdb  # not needed by a chain without a stream

        self._error: Any = lmdb.Error
        self._bad_value: Any = lmdb.BadValsizeError
        self._path = folder.resolve()
        self._is_shared = not writable and self._path in _written
        if self._is_shared:
            self._env: Any = _written[self._path]
            return
        try:
            if writable:
                folder.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(folder), map_size=MAP_BYTES, max_readers=MAX_READERS, readonly=not writable, create=writable,
                subdir=True, sync=False, metasync=False, readahead=False, meminit=False,
            )  # fmt: skip
            if writable:
                self._env.reader_check()
                _written[self._path] = self._env
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"the state {folder} cannot be opened ({error})") from error

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See Store."""
        try:
            with self._env.begin(buffers=False) as transaction:
                yield LmdbReading(transaction)
        except self._error as error:
            raise StoreError(f"the state cannot be read ({error})") from error

    def commit(self, writes: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """See Store."""
        try:
            with self._env.begin(write=True) as transaction:
                every = list(writes)
                kept = [write for write in every if write[1] is not None]
                # One call: a loop here would take as long again as LMDB does.
                with transaction.cursor() as cursor:
                    cursor.putmulti(kept)
                for key, value in every if len(kept) < len(every) else ():
                    if value is None:
                        transaction.delete(key)
                transaction.put(POSITION, position.to_bytes(8, "big"))
        except self._bad_value as error:  # of what was written, not of the place
            raise ValueError(f"a key or a value is longer than the state can have ({error})") from error
        except self._error as error:
            raise self._failed(error) from error

    def expire(self, before: int, last_at: slice) -> int:
        """Remove users who have done nothing for long; another process may write events meanwhile.

        Args:
            before: who did nothing from this instant on goes, nanoseconds since 1970; those who were forgotten stay.
            last_at: where in a user's record the instant of its latest event is.

        Returns:
            How many are gone.
        """
        count, start = 0, USER
        try:
            while True:
                with self._env.begin() as transaction:
                    found = LmdbReading(transaction).scan(USER, start)
                    idle = list(islice((key for key, value in found if 0 < _number(value[last_at]) < before), AT_ONCE))
                if not idle:
                    return count
                with self._env.begin(write=True) as transaction:
                    known = _number(transaction.get(EXPIRED) or b"")
                    transaction.put(EXPIRED, max(known, before).to_bytes(8, "little"))
                    for key in idle:
                        # Not who came back in between.
                        if _number(transaction.get(key, b"")[last_at]) < before:
                            count += transaction.delete(key)
                            transaction.delete(SEEN + key[1:])
                start = idle[-1] + b"\0"
        except self._error as error:
            raise self._failed(error) from error

    def sync(self) -> None:
        """Return once every commit so far would survive a crash of the machine."""
        try:
            self._env.sync(True)
        except self._error as error:
            raise self._failed(error) from error

    def copy(self, folder: Path) -> None:
        """A copy of the state as it is now, in an empty folder; on disk when this returns."""
        try:
            self._env.copy(str(folder), compact=True)
        except self._error as error:
            raise StoreError(f"the state cannot be copied to {folder} ({error})") from error

    def _failed(self, error: Exception) -> StoreError:
        full = any(word in str(error) for word in FULL_WORDS)
        with suppress(OSError):
            full = full or shutil.disk_usage(self._path).free < FULL_BYTES
        if full:
            return StoreError(f"the state {self._path} cannot be written: its disk is full; free some space on it")
        return StoreError(f"the state {self._path} cannot be written ({error})")

    def close(self) -> None:
        """See Store."""
        if self._is_shared:
            return
        self._env.close()
        if _written.get(self._path) is self._env:
            del _written[self._path]


class LmdbReading:
    """See Reading."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.position = int.from_bytes(transaction.get(POSITION) or b"", "big")
        self.fresh_at = ALWAYS

    @property
    def expired_at(self) -> int:
        """See Reading."""
        return _number(self._transaction.get(EXPIRED) or b"")

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Reading."""
        return list(map(self._transaction.get, keys))

    def found(self, keys: Sequence[bytes]) -> tuple[list[bytes | None], list[int]]:
        """See Reading; nothing is ever away."""
        return self.get(keys), []

    def changed(self, index: bytes, since: int | None) -> list[bytes]:
        """See Reading."""
        # An entry of COUNTED is at one more than the offset of its event.
        start = 0 if since is None else since + (index == COUNTED)
        return [key for _, key in self.scan(index, index + start.to_bytes(8, "big"))]

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See Reading."""
        with self._transaction.cursor() as cursor:
            if not cursor.set_range(max(prefix, start)):
                return
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "little")


def item_key(item: int) -> bytes:
    """The key of an item's record."""
    return ITEM + (item ^ (-1 << 63)).to_bytes(8, "big", signed=True)


def stock_key(offset: int) -> bytes:
    """The key under which an item event that holds names its item."""
    return STOCK + offset.to_bytes(8, "big")


def counted_key(offset: int) -> bytes:
    """The key under which the latest event of an item whose windows count names the item."""
    return COUNTED + offset.to_bytes(8, "big")
