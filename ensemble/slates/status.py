"""`cascade slates status`: which version a cache has, how many slates, how old they are, and how far the refresh is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
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
from workflows.core.shown import print_json

__all__ = ["CacheStatus", "SlatesStatus", "print_status"]


class SlatesStatus(msgspec.Struct, frozen=True):
    """What a version of the slates in a cache holds.

    Attributes:
        version: of them.
        built_at: when it began to be built.
        num_users: it was built for.
        num_items: of an entry.
        ttl_s: for which an entry is served.
        num_slates: that are there.
        num_expired: of these.
        num_damaged: of these, which cannot be read.
        oldest_at: when the oldest was made; null without any.
    """

    version: str
    built_at: str
    num_users: int
    num_items: int
    ttl_s: float
    num_slates: int
    num_expired: int
    num_damaged: int
    oldest_at: str | None


class CacheStatus(msgspec.Struct, frozen=True):
    """What `cascade slates status --json` prints.

    Attributes:
        cache: its address, without a password.
        slates: of the version that is served; null: none are built yet.
        building_since: when a build began that is not finished; null without one.
        num_built: users that it has done.
        refreshed_to: offset in the log of events up to which slates are refreshed; null: never.
        refreshed_at: when.
        num_behind: events of the log that are later; null where no log was named.
    """

    cache: str
    slates: SlatesStatus | None
    building_since: str | None
    num_built: int
    refreshed_to: int | None
    refreshed_at: str | None
    num_behind: int | None


def print_status(cache_url: str, events: Path | None, *, as_json: bool = False) -> None:
    """Print the status of a cache on standard output.

    Args:
        cache_url: of the cache.
        events: folder of live events, run or repository, to say how far the refresh is behind it.
        as_json: print JSON.

    Raises:
        ConfigError, ServingError: there is no such cache, or it cannot be read.
        ArtefactError: there are no live events.
    """
    found = _status(cache_url, None if events is None else _end(find_events(events)))
    if as_json:
        print_json(found)
        return
    table = Table(show_header=False)
    for name, value in _lines(found):
        table.add_row(console.plain(name), console.plain(value))
    Console(highlight=False).print(table)


def _status(cache_url: str, end: int | None) -> CacheStatus:
    with open_cache(cache_url) as cache:
        current, building, refreshed = read_current(cache), read_building(cache), read_refreshed(cache)
        return CacheStatus(
            cache=str(parse_cache_url(cache_url)),
            slates=None if current is None else _slates(cache, current),
            building_since=None if building is None else _when(building.made_at_ms),
            num_built=0 if building is None else building.done,
            refreshed_to=None if refreshed is None else refreshed.offset,
            refreshed_at=None if refreshed is None else _when(refreshed.at_ms),
            num_behind=None if refreshed is None or end is None else max(end - refreshed.offset, 0),
        )


def _slates(cache: Cache, current: Current) -> SlatesStatus:
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
    return SlatesStatus(
        version=current.version,
        built_at=_when(current.made_at_ms),
        num_users=current.num_users,
        num_items=current.num_items,
        ttl_s=current.ttl_s,
        num_slates=num,
        num_expired=expired,
        num_damaged=damaged,
        oldest_at=_when(oldest) if num else None,
    )


def _lines(found: CacheStatus) -> Iterator[tuple[str, str]]:
    yield "cache", found.cache
    if (slates := found.slates) is None:
        yield "slates", "none are built yet"
    else:
        yield "version", f"{slates.version}, built {slates.built_at} for {slates.num_users:,} users"
        said = f"{slates.num_slates:,} of {slates.num_items} items, served for {console.duration(slates.ttl_s)}"
        yield "slates", f"{said}; {slates.num_expired:,} have expired, {slates.num_damaged:,} cannot be read"
        if slates.oldest_at is not None:
            yield "oldest slate", slates.oldest_at
    if found.building_since is not None:
        yield "a build", f"of {found.building_since} is not finished: {found.num_built:,} users are done"
    if found.refreshed_to is not None:
        behind = "" if found.num_behind is None else f", {found.num_behind:,} behind the log"
        yield "refreshed", f"up to event {found.refreshed_to:,}{behind}, {found.refreshed_at}"


def _end(events: Path) -> int:
    try:
        return next_offset(events)
    except LogError as error:
        raise ArtefactError(str(error)) from error


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(timespec="seconds")
