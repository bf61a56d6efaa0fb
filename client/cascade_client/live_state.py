"""What live events say against a cached slate: items that its user has seen since, and items that are out of stock.

The state is what the model `cascade_events` of the server writes; this file reads the little of its records that a
slate needs. Cascade's tests hold it against the code that writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade_client.errors import BadSetting
from cascade_client.slate_entry import Entry

__all__ = ["LiveState"]

SPEC_FILE = "stream.json"
FOLD_VERSION = 2
# What goes into the name of the state's folder.
VERSIONED = (
    *("user_id_dtype", "item_id_dtype", "labels", "history_length", "dedupe_last"),
    *("user_windows", "since", "item_windows"),
)
# The first byte of the keys of users' records, of the seen items that left their histories, and of items' records.
USER, SEEN, ITEM = b"u", b"s", b"i"
SIGN = -1 << 63
# A user's record: where its numbers are, and its history, which is its end.
NEXT_OFFSET, NUM_EVENTS, NUM_HISTORY = slice(0, 8), slice(24, 28), slice(28, 30)
SLOT = np.dtype([("item", "<i8"), ("at", "<i8"), ("offset", "<i8")])
# An item's record: the offset of the item event that holds, and what it says.
STOCK_OFFSET, STOCK = slice(16, 24), 24
OUT_OF_STOCK = 1


class LiveState:
    """The live state in a folder of live events, read in the process that asks.

    Args:
        events: the folder, as `cascade serve --events` has it.

    Raises:
        BadSetting: the package that reads it is not installed.
    """

    def __init__(self, events: str) -> None:
        try:
            from cascade_client.store_lmdb import READ_ERRORS, environments
        except ImportError as error:
            raise BadSetting(
                f"live events are read with the package {error.name}; install cascade-client[lmdb], or give events=''"
            ) from error
        self._environments, self._errors = environments, READ_ERRORS
        self._state = Path(events).resolve() / "state"
        self._spec = self._state.parent / SPEC_FILE
        self._known: tuple[tuple[int, int], Path, bool] | None = None

    def kept(self, users: Sequence[bytes], entries: Sequence[Entry | None], seen: bool) -> list[list[int] | None]:
        """Which items of entries may be shown now.

        Args:
            users: keys.
            entries: of these; None where there is none.
            seen: whether seen items are not shown.

        Returns:
            For each entry the places of its items, ascending; None where there is no entry, or its user was forgotten
            after it was made. Where the live state is away, all of them.
        """
        try:
            environment, has_stock = self._open()
            with environment.begin() as transaction:
                return [_kept(transaction, *pair, seen, has_stock) for pair in zip(users, entries)]
        except Exception as error:
            if not isinstance(error, (OSError, ValueError, KeyError)) and type(error).__module__ != "lmdb":
                raise
            return [None if entry is None else list(range(len(entry.keys))) for entry in entries]

    def _open(self) -> tuple[Any, bool]:
        """The environment of the state that is written now, and whether it says what is in stock."""
        found = self._spec.stat()
        identity = (found.st_ino, found.st_mtime_ns)
        if self._known is None or self._known[0] != identity:
            spec = json.loads(self._spec.read_text("utf-8"))
            self._known = identity, self._state / _state_version(spec), bool(spec["stock"])
        _, folder, has_stock = self._known
        return self._environments.reading(folder), has_stock


def _state_version(spec: dict[str, Any]) -> str:
    kept = [spec[name] for name in VERSIONED]
    return hashlib.sha256(json.dumps([FOLD_VERSION, *kept]).encode()).hexdigest()[:12]


def _kept(transaction: Any, user: bytes, entry: Entry | None, seen: bool, has_stock: bool) -> list[int] | None:
    if entry is None:
        return None
    hidden: set[int] = set()
    record = transaction.get(USER + user) if user else None
    if record is not None:
        if _number(record[NUM_EVENTS]) == 0 and _number(record[NEXT_OFFSET]) > entry.offset:
            return None
        if seen:
            hidden.update(_history(record))
            hidden.update(np.frombuffer(transaction.get(SEEN + user) or b"", "<i8").tolist())
    keys = entry.keys.tolist()
    places = [place for place, key in enumerate(keys) if key not in hidden]
    return [p for p in places if not _is_out(transaction, keys[p], entry.offset)] if has_stock else places


def _history(record: bytes) -> list[int]:
    """Keys of the items in the history of a user's record."""
    num_history = _number(record[NUM_HISTORY])
    slots = np.frombuffer(record, SLOT, num_history, len(record) - num_history * SLOT.itemsize)
    items: list[int] = slots["item"].tolist()
    return items


def _is_out(transaction: Any, item: int, offset: int) -> bool:
    """Whether an event from an offset on says that an item is out of stock."""
    record = transaction.get(ITEM + (item ^ SIGN).to_bytes(8, "big", signed=True))
    return record is not None and record[STOCK] == OUT_OF_STOCK and _number(record[STOCK_OFFSET]) >= offset


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")
