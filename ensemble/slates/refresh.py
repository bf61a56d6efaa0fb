"""`cascade slates refresh`: slates of users with new events, and of active users whose slates expire soon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cascade_client import Id
from cascade_client.slate_entry import POPULAR, Entry, entry_key, user_key
from ensemble.slates.ask import IN_FLIGHT, Asker, batches
from ensemble.slates.blocked import copy_blocked
from ensemble.slates.cache.base import Cache, Item
from ensemble.slates.cache.open import open_cache
from ensemble.slates.dirty import Dirty
from ensemble.slates.entries import entries_of, popular_item
from ensemble.slates.records import REFRESH, Current, Refreshed, item_of, read_current, read_refreshed
from ensemble.slates.source import Source, find_source
from ensemble.slates.users import active_users, raw_user
from workflows.core import console
from workflows.core.errors import ArtefactError, ServingError

__all__ = ["POLL_S", "refresh"]

POLL_S = 1.0
# A slate is made anew when less than this part of its life is left; looked for so often in a life, at most each minute.
LEFT, LOOKS_A_LIFE, SHORTEST_LOOK_S = 0.2, 50, 60.0
FOLLOWS_NO_TOPIC = (
    "slates refresh: events come over a topic, which is not followed: slates of active users are made anew before they "
    "expire, so `cascade slates build --ttl` says how old they get"
)
# Users that are asked for before what came meanwhile is looked at.
USERS_AT_ONCE = 256


def refresh(
    target: str,
    cache_url: str,
    *,
    url: str | None = None,
    events: Path | None = None,
    active_days: float = 30.0,
    follow: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Make slates anew.

    Args:
        target: a run, a repository, or the URL of a running server.
        cache_url: of the cache.
        url: of a running server; without, and where the target is no URL, one is started.
        events: folder of live events; by default the target's own.
        active_days: how long a user stays active after an event.
        follow: go on until it is stopped, looking for new events each second.
        stopped: asked between the parts of the work.

    Returns:
        How many slates were written.

    Raises:
        CascadeError: something in the way; where it stopped is kept, and the same command goes on.
    """
    source = find_source(target, url, events)
    with (
        open_cache(cache_url) as cache,
        cache.hold("refresh"),
        source.server() as server,
        Asker(server, IN_FLIGHT) as asker,
    ):
        if source.store:
            console.say(FOLLOWS_NO_TOPIC)
        run = _Refresh(cache, asker, source, active_days)
        if not follow:
            run.turn(stopped)
        while follow and not stopped():
            _turn(run, stopped)
            _wait(POLL_S, stopped)
    console.say(f"slates refresh: {run.num_written:,} slates are new, {run.num_removed:,} removed")
    return run.num_written


def _built(cache: Cache) -> Current:
    current = read_current(cache)
    if current is None:
        raise ArtefactError("the cache has no slates yet; `cascade slates build` makes them")
    return current


def _turn(run: _Refresh, stopped: Callable[[], bool]) -> None:
    """A turn of a refresh that goes on whatever is away, and says so once."""
    try:
        run.turn(stopped)
        run.problem = ""
    except ServingError as error:
        if str(error) != run.problem:
            console.say(f"slates refresh: {error}; going on when it is there again")
        run.problem = str(error)


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.05)


class _Refresh:
    """What a refresh knows between two turns.

    Args:
        cache, asker: what is written and who is asked.
        source: whose blocked items leave the cache, and whose live events are followed; without these only what
            expires is made anew.
        active_days: how long a user stays active after an event.
    """

    def __init__(self, cache: Cache, asker: Asker, source: Source, active_days: float) -> None:
        self._cache, self._asker, self._source, self._active_days = cache, asker, source, active_days
        self._events = source.events
        self._current: Current = _built(cache)
        self._dirty: Dirty | None = None
        self._look_at = 0.0
        # Why the latest turn of one that goes on failed.
        self.problem = ""
        self.num_written = self.num_removed = 0
        self._begin(self._current)

    def turn(self, stopped: Callable[[], bool]) -> None:
        """Make anew what must be now.

        Raises:
            ServingError: the server or the cache is away, or the server serves another version.
        """
        built = _built(self._cache)
        # Writing nothing keeps what is held.
        self._cache.put([])
        copy_blocked(self._cache, self._source.repository)
        if built != self._current:
            self._begin(built)
        self._check_version()
        if self._dirty is not None:
            self._dirty.read()
            self._follow_events(self._dirty, stopped)
        if time.monotonic() >= self._look_at:
            self._renew(stopped)
            self._look_at = time.monotonic() + max(self._current.ttl_s / LOOKS_A_LIFE, SHORTEST_LOOK_S)

    def _begin(self, built: Current) -> None:
        """Go on from where the slates of a build, or an earlier refresh of them, are."""
        self._asker.use(built.context)
        self._at_once = self._asker.most_users()
        self._current, self._look_at = built, 0.0
        if self._events is None:
            return
        before = read_refreshed(self._cache)
        is_of_build = before is not None and before.built_at_ms == built.made_at_ms
        known = before.offset if before and is_of_build else built.offset
        self._dirty = Dirty(self._events, known)
        if self._dirty.is_text != (built.user_id_dtype == "BYTES"):
            raise ArtefactError(f"{self._events} and the cache have users of different types; they are of two products")

    def _check_version(self) -> None:
        number = self._asker.version
        if number != self._current.number:
            raise ServingError(
                f"the server serves version {number} and the cache has slates of version {self._current.number}; "
                "`cascade slates build` makes those of the new one"
            )

    def _follow_events(self, dirty: Dirty, stopped: Callable[[], bool]) -> None:
        """Slates of users whose events came since theirs were made."""
        self._forget(dirty)
        waiting = list(dirty.waiting())
        for start in range(0, len(waiting), USERS_AT_ONCE):
            if stopped():
                break
            part = self._behind(dirty, waiting[start : start + USERS_AT_ONCE])
            self._make([raw_user(user, dirty.is_text) for user, _ in part], max([n for _, n in part], default=None))
        if waiting or dirty.offset != self._written_offset():
            self._remember(dirty)

    def _behind(self, dirty: Dirty, users: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Those whose slates lack an event; others were made by a build or a refresh since."""
        values = self._cache.get([entry_key(self._current.version, user) for user, _ in users])
        behind = []
        for (user, needed), value in zip(users, values, strict=True):
            entry = Entry.from_bytes(value)
            if entry is not None and entry.offset >= needed:
                dirty.done(user, entry.offset)
            else:
                behind.append((user, needed))
        return behind

    def _make(self, users: list[Id], min_offset: int | None) -> None:
        """Ask for the slates of users and write them."""
        is_text, items = self._current.user_id_dtype == "BYTES", list[Item]()
        reached: list[tuple[bytes, int]] = []
        for answer in self._asker.slates(batches(users, self._at_once), self._current.num_items, min_offset):
            items += entries_of(self._current, answer)
            for slate in answer.slates:
                if slate.stream_offset is None and min_offset is not None:
                    raise ServingError("the server has no live events; serve an export of a config with [stream]")
                reached.append((user_key(slate.user_id, is_text) or b"", slate.stream_offset or 0))
        if items:
            self._asker.check_version(self._current.number)
            self._cache.put(items)
            self.num_written += len(items)
        if self._dirty is not None:
            for user, offset in reached:
                self._dirty.done(user, offset)

    def _forget(self, dirty: Dirty) -> None:
        """Remove the slates of users who were forgotten."""
        gone = [Item(entry_key(self._current.version, user), None) for user in dirty.forgotten]
        if gone:
            self._cache.put(gone)
            self.num_removed += len(gone)
            dirty.forgotten.clear()

    def _written_offset(self) -> int:
        before = read_refreshed(self._cache)
        return before.offset if before and before.built_at_ms == self._current.made_at_ms else -1

    def _remember(self, dirty: Dirty) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._cache.put([item_of(REFRESH, Refreshed(self._current.made_at_ms, dirty.offset, now_ms))])

    def _renew(self, stopped: Callable[[], bool]) -> None:
        """Slates of active users that expire soon; expired ones of others go."""
        has_state = self._events is not None or self._source.store
        active = set(active_users(self._source, self._active_days)) if has_state else None
        is_text, users, gone = self._current.user_id_dtype == "BYTES", list[Id](), list[Item]()
        for user, left in self._ends():
            if left <= LEFT and (active is None or user in active):
                users.append(raw_user(user, is_text))
            elif left <= 0:
                gone.append(Item(entry_key(self._current.version, user), None))
        for start in range(0, len(users), USERS_AT_ONCE):
            if not stopped():
                self._make(users[start : start + USERS_AT_ONCE], None)
        now_ms = time.time_ns() // 1_000_000
        popular = popular_item(self._current, self._asker.popular(self._current.num_items), now_ms)
        self._cache.put([*gone, popular])
        self.num_removed += len(gone)

    def _ends(self) -> Iterator[tuple[bytes, float]]:
        """Users and the part of their slates' lives that is left."""
        prefix, now_ms = entry_key(self._current.version, POPULAR), time.time_ns() // 1_000_000
        for key, value in self._cache.scan(prefix):
            entry = Entry.from_bytes(value)
            if key != prefix:
                left_ms = 0 if entry is None else entry.expires_ms - now_ms
                yield key[len(prefix) :], left_ms / (self._current.ttl_s * 1000)
