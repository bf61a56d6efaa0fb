"""Whose slates are made: all users, those who were active lately, or those of a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from numpy.typing import NDArray

from cascade_client import Id
from cascade_client.slate_entry import user_key
from ensemble.slates.source import Source
from ensemble.stream.folder import load_spec
from runtime.stream.folder import existing_state
from runtime.stream.redis_url import read_url
from runtime.stream.store import USER, LmdbStore, ReadStore, StoreError
from workflows.core import console
from workflows.core.errors import ArtefactError, ConfigError, DataError

__all__ = ["ACTIVE", "ALL", "active_users", "chosen_users", "raw_user"]

ALL, ACTIVE = "all", "active"
COLUMN = "user_id"
DAY_NS = 86_400 * 10**9
# Where a user's record says when its last event was.
LAST_AT = slice(16, 24)
SIGN = -1 << 63


def chosen_users(source: Source, chosen: str, is_text: bool, active_days: float) -> list[Id]:
    """Raw ids, each once, in an order that is the same each time.

    Args:
        source: who makes the slates.
        chosen: "all", "active" or the path of a file: Parquet with a column user_id, or one id a line.
        is_text: whether the ids of users are texts.
        active_days: how long a user stays active after an event.

    Raises:
        ConfigError: a server alone does not say who its users are.
        DataError: the file cannot be read, or has an id that no user can have.
        ArtefactError: there are no live events to tell who is active.
    """
    if chosen == ACTIVE:
        if source.events is None and not source.store:
            raise ArtefactError(
                "--users active: there are no live events here to tell who is active; give their folder with --events, "
                "or --users all"
            )
        return [raw_user(key, is_text) for key in active_users(source, active_days)]
    if chosen == ALL:
        if source.users is None:
            raise ConfigError(
                "--users all: a server does not say who its users are; give the run or repository and --url, or a "
                "file with --users"
            )
        return _texts(source.users) if is_text else source.users.tolist()
    return _of_file(Path(chosen), is_text)


def active_users(source: Source, active_days: float) -> Iterator[bytes]:
    """Keys of the users who had an event lately.

    Raises:
        ArtefactError: the live state cannot be read.
    """
    since = time.time_ns() - int(active_days * DAY_NS)
    try:
        store = _state(source)
        try:
            with store.read() as reading:
                for key, record in reading.scan(USER):
                    if int.from_bytes(record[LAST_AT], "little") >= since:
                        yield key[len(USER) :]
        finally:
            store.close()
    except StoreError as error:
        raise ArtefactError(str(error)) from error


def _state(source: Source) -> ReadStore:
    """The live state of a source that has one.

    Raises:
        StoreError: it cannot be opened.
    """
    if source.events is not None:
        return LmdbStore(existing_state(source.events, load_spec(source.events).state_version), writable=False)
    assert source.spec is not None and source.spec.live is not None
    from runtime.stream.redis import WRITE_TIMEOUT_S, RedisStore  # not needed where the state is on this machine

    return RedisStore(read_url(source.store), source.spec.live.stream, WRITE_TIMEOUT_S)


def raw_user(key: bytes, is_text: bool) -> Id:
    """The id that a key stands for."""
    return key.decode() if is_text else int.from_bytes(key, "big", signed=True) ^ SIGN


def _texts(ids: NDArray) -> list[Id]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in ids.tolist()]


def _of_file(path: Path, is_text: bool) -> list[Id]:
    found = _parquet(path) if path.suffix == ".parquet" else _lines(path)
    kept: dict[Id, None] = {}
    for number, value in enumerate(found, start=1):
        key = None if value is None else user_key(value, is_text)
        if key is None:
            what = "text of up to 440 bytes" if is_text else "whole number of 64 bits"
            raise DataError(f"{path}: user {number} must be a {what}, as the users of this product are, got {value!r}")
        kept[raw_user(key, is_text)] = None
    if not kept:
        raise DataError(f"{path} names no user; expected one id a line, or a Parquet column '{COLUMN}'")
    if len(kept) < number:
        console.say(f"slates: {path} names {number - len(kept):,} users more than once; each gets one slate")
    return list(kept)


def _lines(path: Path) -> Sequence[Id | None]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(
            f"--users {path} cannot be read ({said}); give 'all', 'active', or a file with one id a line"
        ) from None
    return [line.strip() for line in lines if line.strip() and line.strip() != COLUMN]


def _parquet(path: Path) -> Sequence[Id | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column: Sequence[Id | None] = pq.read_table(path, columns=[COLUMN]).column(COLUMN).to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        said = str(error).split("\n", 1)[0].rstrip(".")
        raise DataError(f"--users {path} cannot be read as Parquet with a column '{COLUMN}' ({said})") from error
    return column
