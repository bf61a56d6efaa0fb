"""`cascade slates status`: which version a cache has, how many slates, how old they are, and how far the refresh is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascade_client.slate_entry import POPULAR, Entry, entry_key
from cascade_client.slate_stores import parse_cache_url
from ensemble.slates.cache.base import Cache
from ensemble.slates.cache.open import open_cache
from ensemble.slates.records import Current, read_building, read_current, read_refreshed
from ensemble.stream.folder import find_events
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import next_offset
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = ["print_status"]


def print_status(cache_url: str, events: Path | None) -> None:
    """Print the status of a cache on standard output.

    Args:
        cache_url: of the cache.
        events: folder of live events, run or repository, to say how far the refresh is behind it.

    Raises:
        ConfigError, ServingError: there is no such cache, or it cannot be read.
        ArtefactError: there are no live events.
    """
    table = Table(show_header=False)
    end = None if events is None else _end(find_events(events))
    with open_cache(cache_url) as cache:
        table.add_row("cache", console.plain(parse_cache_url(cache_url)))
        for name, value in _lines(cache, end):
            table.add_row(console.plain(name), console.plain(value))
    Console(highlight=False).print(table)


def _lines(cache: Cache, end: int | None) -> Iterator[tuple[str, str]]:
    current, building = read_current(cache), read_building(cache)
    if current is None:
        yield "slates", "none are built yet"
    else:
        yield "version", f"{current.version}, built {_when(current.made_at_ms)} for {current.num_users:,} users"
        yield from _entries(cache, current)
    if building is not None:
        yield "a build", f"of {_when(building.made_at_ms)} is not finished: {building.done:,} users are done"
    refreshed = read_refreshed(cache)
    if refreshed is not None:
        behind = "" if end is None else f", {max(end - refreshed.offset, 0):,} behind the log"
        yield "refreshed", f"up to event {refreshed.offset:,}{behind}, {_when(refreshed.at_ms)}"


def _entries(cache: Cache, current: Current) -> Iterator[tuple[str, str]]:
    now_ms, prefix = time.time_ns() // 1_000_000, entry_key(current.version, POPULAR)
    num = expired = damaged = 0
    oldest = now_ms
    for key, value in cache.scan(prefix):
        if key == prefix:
            continue
        entry = Entry.from_bytes(value)
        num, damaged = num + 1, damaged + (entry is None)
        if entry is not None:
            expired, oldest = expired + (entry.expires_ms <= now_ms), min(oldest, entry.made_at_ms)
    said = f"{num:,} of {current.num_items} items, served for {console.duration(current.ttl_s)}"
    yield "slates", f"{said}; {expired:,} have expired, {damaged:,} cannot be read"
    if num:
        yield "oldest slate", _when(oldest)


def _end(events: Path) -> int:
    try:
        return next_offset(events)
    except LogError as error:
        raise ArtefactError(str(error)) from error


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(timespec="seconds")
