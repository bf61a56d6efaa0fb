"""`cascade slates build`: slates of many users into a cache, and into a Parquet file; stopped anywhere, it goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from cascade_client import Id
from cascade_client.slate_entry import BUILDING, CURRENT, user_key
from ensemble.slates.ask import IN_FLIGHT, Asker, batches
from ensemble.slates.blocked import copy_blocked
from ensemble.slates.cache.base import Cache, Item
from ensemble.slates.cache.open import open_cache
from ensemble.slates.entries import entries_of, popular_item
from ensemble.slates.parquet import check_out, write_parquet
from ensemble.slates.records import Building, Current, item_of, read_building, read_current
from ensemble.slates.source import Source, find_source
from ensemble.slates.users import chosen_users
from workflows.core import console
from workflows.core.errors import ServingError

__all__ = ["Options", "build"]

# An entry holds so many slates: what is hidden when it is read leaves full pages, and three of them are there.
SLATES_AN_ENTRY = 3
# Users between two records of how far the build is.
BATCHES_A_COMMIT = 32
ENTRY_PREFIX = b"e"
REMOVED_AT_ONCE = 1024
# The offset of slates before the first one.
NOT_KNOWN = 2**62


class Options(NamedTuple):
    """How slates are built.

    Attributes:
        users: "all", "active" or a file, see `chosen_users`.
        ttl_s: how long an entry is served.
        context: fixed values of context features, as text.
        num_items: items in an entry; None: three slates, as far as the server allows.
        active_days: how long a user stays active after an event.
        in_flight: requests on their way at once.
    """

    users: str = "all"
    ttl_s: int = 86_400
    context: Mapping[str, str] = {}
    num_items: int | None = None
    active_days: float = 30.0
    in_flight: int = IN_FLIGHT


def build(
    target: str,
    cache_url: str,
    options: Options,
    *,
    url: str | None = None,
    events: Path | None = None,
    out: Path | None = None,
) -> float:
    """Build the slates of many users.

    The entries of a version that is new lie beside those that are read, until all are there; one write then makes them
    those that are read, and the others are removed.

    Args:
        target: a run, a repository, or the URL of a running server.
        cache_url: of the cache.
        options: how.
        url: of a running server; without, and where the target is no URL, one is started.
        events: folder of live events; by default the target's own.
        out: a Parquet file to write as well.

    Returns:
        Users a second.

    Raises:
        CascadeError: something in the way; what is built is kept, and the same command goes on.
    """
    if out is not None:
        check_out(out)
    source = find_source(target, url, events)
    with open_cache(cache_url, create=True) as cache, cache.hold("build"), source.server() as server:
        copy_blocked(cache, source.repository)
        with Asker(server, options.in_flight) as asker:
            asker.use(options.context)
            current = _current(source, asker, options)
            users = chosen_users(source, options.users, current.user_id_dtype == "BYTES", options.active_days)
            is_text = current.user_id_dtype == "BYTES"
            kept = [user for user in users if user_key(user, is_text) is not None]
            if len(kept) < len(users):
                console.say(f"slates build: {len(users) - len(kept):,} users have ids too long for a cache")
            rate = _build(cache, asker, msgspec.structs.replace(current, num_users=len(kept)), kept)
        if out is not None:
            written = read_current(cache)
            assert written is not None
            write_parquet(cache, written, kept, out)
        # From here on the same command builds anew.
        cache.put([item_of(BUILDING, None)])
    return rate


def _current(source: Source, asker: Asker, options: Options) -> Current:
    """What the build will leave, but for what is known only when it is done."""
    number, popular = asker.version, asker.popular()
    if source.version and source.version.partition(".")[0] != number:
        raise ServingError(
            f"the server serves version {number}, and {source.repository} has {source.version.partition('.')[0]}; load "
            "it with `cascade reload`, or leave --url out"
        )
    size = source.spec.slate_size if source.spec else max(len(popular.item_ids), 1)
    wanted = options.num_items or SLATES_AN_ENTRY * size
    return Current(
        version=source.version or number,
        user_id_dtype=asker.user_id_dtype,
        item_id_dtype="BYTES" if any(isinstance(item, str) for item in popular.item_ids) else "INT64",
        slate_size=size,
        num_items=_num_items(source, asker, wanted, size, is_given=options.num_items is not None),
        filter_seen=source.spec.filter_seen if source.spec else True,
        ttl_s=options.ttl_s,
        context=dict(options.context),
        num_users=0,
        offset=-1,
        made_at_ms=time.time_ns() // 1_000_000,
    )


def _num_items(source: Source, asker: Asker, wanted: int, size: int, *, is_given: bool) -> int:
    if is_given:
        asker.popular(wanted)
        return wanted
    if source.spec is not None:
        return min(wanted, source.spec.max_slate_size)
    return asker.longest([wanted, 2 * size, size])


def _build(cache: Cache, asker: Asker, current: Current, users: Sequence[Id]) -> float:
    """Ask for all slates and write them; returns users a second."""
    building = _go_on(cache, current, users)
    current = msgspec.structs.replace(current, made_at_ms=building.made_at_ms)
    started_at, first = time.perf_counter(), building.done
    cache.put([popular_item(current, asker.popular(current.num_items), building.made_at_ms)])
    items: list[Item] = []
    done, since_commit, offset = building.done, 0, building.offset
    with console.progress("slates build", len(users), "users") as bar:
        bar.advance(bar.task_ids[0], done)
        for answer in asker.slates(batches(users, asker.most_users(), done), current.num_items):
            items += entries_of(current, answer)
            offset = min([_known(slate.stream_offset, offset) for slate in answer.slates])
            done, since_commit = done + len(answer.slates), since_commit + 1
            bar.advance(bar.task_ids[0], len(answer.slates))
            if since_commit == BATCHES_A_COMMIT or done == len(users):
                asker.check_version(current.number)
                building = msgspec.structs.replace(building, done=done, offset=offset)
                cache.put([*items, item_of(BUILDING, building)])
                items, since_commit = [], 0
    took = max(time.perf_counter() - started_at, 1e-9)
    _finish(cache, msgspec.structs.replace(current, offset=-1 if offset == NOT_KNOWN else offset))
    rate = (done - first) / took
    made = f"; {rate:,.0f} users a second" if done > first else ""
    console.say(
        f"slates build: {done:,} users have slates of {current.num_items} items in version {current.version}{made}"
    )
    return rate


def _known(offset: int | None, before: int) -> int:
    return before if offset is None else min(offset, before)


def _go_on(cache: Cache, current: Current, users: Sequence[Id]) -> Building:
    """The same build that was stopped, or a new one."""
    said = [current.version, list(users), current.num_items, current.ttl_s, sorted(current.context.items())]
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    before = read_building(cache)
    if before is not None and before.key == key and _is_fresh(before, current):
        console.say(f"slates build: going on behind user {before.done:,}")
        return before
    return Building(key, 0, NOT_KNOWN, current.made_at_ms)


def _is_fresh(before: Building, current: Current) -> bool:
    """Whether what a stopped build has made will be served for a while."""
    return current.made_at_ms - before.made_at_ms < current.ttl_s * 500


def _finish(cache: Cache, current: Current) -> None:
    """Let the new version be read, and remove all others."""
    cache.put([item_of(CURRENT, current)])
    kept = ENTRY_PREFIX + current.version.encode() + b"\0"
    others: list[Item] = []
    for key, _ in cache.scan(ENTRY_PREFIX):
        if not key.startswith(kept):
            others.append(Item(key, None))
        if len(others) == REMOVED_AT_ONCE:
            cache.put(others)
            others = []
    cache.put(others)
