"""Slates out of a cache, for web servers: filtered as they are read, and made otherwise where the cache has none."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from cascade_client.chain_slates import ChainSlates
from cascade_client.client import CascadeClient
from cascade_client.errors import CascadeClientError
from cascade_client.live_state import LiveState
from cascade_client.pages import CACHE, Page, Wanted, check
from cascade_client.slate_entry import POPULAR, Entry, user_key
from cascade_client.slate_stores import CacheAway, open_store, parse_cache_url
from cascade_client.slates import Id, Slates

__all__ = ["SlateCache"]

EVENTS_VARIABLE = "CASCADE_EVENTS"
TIMEOUT_S, SERVER_TIMEOUT_S, RETRY_S = 0.1, 0.5, 1.0
# Where nothing says how long a slate is.
SLATE_SIZE = 20


@dataclass(frozen=True)
class Current:
    """What the cache says of the version that is read; see `cascade slates build`."""

    version: str
    is_text: bool
    slate_size: int
    filter_seen: bool

    @property
    def number(self) -> str:
        """The version as the server numbers it."""
        return self.version.partition(".")[0]


class SlateCache:
    """Reads slates that `cascade slates build` made. Share one between threads; use as a context manager, or close().

    A slate is read from the cache; where it has none that may be served, the server is asked, where one is given; then
    everybody's popular items are served. A slate's `path` says which: "cache", a path of the server, "popularity", or
    "none" of an empty slate when all are away.

    Args:
        url: `lmdb:DIR`, `redis://HOST:PORT/DB?prefix=NAME` or `dynamodb://TABLE?region=NAME`.
        server: a server's address, or a client of it; it also says which version of the model is served, and no slate
            of another one is.
        events: folder of live events, where it is on this machine: what users have seen since, and what is sold out,
            leaves their slates; CASCADE_EVENTS by default, "" for none.
        timeout_s: longest wait for the cache.
        server_timeout_s: longest wait for the server, where its address is given.

    Raises:
        BadSetting: an address that cannot be used, or a package that is not installed.

    Attributes:
        problem: what was away or wrong in the latest call, one sentence; "" where nothing was.

    Example:
        >>> with SlateCache("lmdb:/not/yet/built", server="localhost:1", events="") as cache:
        ...     [slate] = cache.recommend([17])
        >>> slate.path, slate.item_ids
        ('none', [])
    """

    def __init__(
        self,
        url: str,
        *,
        server: str | CascadeClient | None = None,
        events: str | os.PathLike[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        server_timeout_s: float = SERVER_TIMEOUT_S,
    ) -> None:
        self._store = open_store(parse_cache_url(url), timeout_s)
        self._chain = None if server is None else ChainSlates(server, server_timeout_s)
        folder = os.environ.get(EVENTS_VARIABLE, "") if events is None else os.fspath(events)
        self._live = LiveState(folder) if folder else None
        self._retry_at, self.problem = 0.0, ""
        # The version that was read last and everybody's slate in it: they outlive a cache that goes away.
        self._known: tuple[bytes, Current] | None = None
        self._popular: Entry | None = None
        # What no slate may show: as the cache says it, and the ids as text.
        self._blocked: tuple[bytes | None, frozenset[str]] = (None, frozenset())

    def recommend(
        self,
        user_ids: Sequence[Id],
        *,
        exclude_item_ids: Sequence[Sequence[Id]] | None = None,
        slate_size: int | None = None,
        page: int = 1,
        context: Mapping[str, Sequence[Any]] | None = None,
    ) -> Slates:
        """The slates of some users.

        Args:
            user_ids: B raw user ids.
            exclude_item_ids: B lists of raw item ids that must not come; any lengths.
            slate_size: items wanted; by default the served model's own number.
            page: counted from 1. No item is on two pages of one entry. An entry that is made anew in between has other
                pages: then give what was shown as `exclude_item_ids` and ask for page 1.
            context: see CascadeClient.recommend; for slates that the server makes.

        Returns:
            One slate a user, in the order asked.

        Raises:
            RequestRefused: the arguments do not fit.
            CacheAway: the cache is away, no server was given, and no popular items were ever read.
        """
        check(user_ids, exclude_item_ids, slate_size, page)
        self.problem = ""
        keys, entries = self._read(user_ids)
        size = slate_size or (self._known[1].slate_size if self._known else SLATE_SIZE)
        excluded = exclude_item_ids if exclude_item_ids is not None else [()] * len(user_ids)
        wanted = Wanted(list(user_ids), [list(items) for items in excluded], page, size)
        pages = self._pages(wanted, keys, entries)
        self._ask_chain(wanted, pages, context or {})
        self._add_popular(wanted, keys, pages)
        return Slates([made.slate(user_id) for user_id, made in zip(wanted.user_ids, pages)])

    def close(self) -> None:
        """Close the connections, but for a client that was given."""
        self._store.close()
        if self._chain is not None:
            self._chain.close()

    def __enter__(self) -> SlateCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, user_ids: Sequence[Id]) -> tuple[list[bytes], list[Entry | None]]:
        """Keys of users, b"" for one that the cache cannot know, and their entries that may be served."""
        nothing: list[Entry | None] = [None] * len(user_ids)
        try:
            if time.monotonic() < self._retry_at:
                raise CacheAway("the cache of slates was away just now")
            if self._known is None:
                self._learn(self._store.read([]).current)
            if self._known is None:
                self._note("nothing is built in the cache of slates yet; `cascade slates build` does it")
                return [b""] * len(user_ids), nothing
            keys = self._keys(user_ids)
            found = self._store.read(keys)
            if self._blocked[0] != found.blocked:
                self._blocked = found.blocked, _ids(found.blocked)
            if self._known[0] != found.current:
                self._learn(found.current)
                keys = self._keys(user_ids)
        except CacheAway as error:
            self._away(error)
            return self._keys(user_ids), nothing
        return keys, self._servable(keys, found.entries)

    def _learn(self, text: bytes | None) -> None:
        """Take over what the cache says of the version that is read."""
        if text is None:
            self._known = None
            return
        try:
            said = json.loads(text)
            is_text, seen = said["user_id_dtype"] == "BYTES", bool(said["filter_seen"])
            current = Current(str(said["version"]), is_text, int(said["slate_size"]), seen)
        except (ValueError, KeyError, TypeError) as error:
            raise CacheAway(f"the cache of slates cannot be read ({error!r}); build it again") from error
        self._known = text, current
        self._popular = Entry.from_bytes(self._store.read([POPULAR]).entries[0]) or self._popular

    def _away(self, error: CacheAway) -> None:
        if self._chain is None and self._popular is None:
            raise error
        self._note(error)
        self._retry_at = max(self._retry_at, time.monotonic() + RETRY_S)

    def _note(self, problem: object) -> None:
        self.problem = f"{self.problem}; {problem}" if self.problem else str(problem)

    def _keys(self, user_ids: Sequence[Id]) -> list[bytes]:
        is_text = self._known is not None and self._known[1].is_text
        return [user_key(user_id, is_text) or b"" for user_id in user_ids]

    def _servable(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[Entry | None]:
        """Entries of the version that is served, and not expired."""
        assert self._known is not None
        current, now_ms = self._known[1], time.time_ns() // 1_000_000
        served = None if self._chain is None else self._chain.version()
        if served not in (None, current.number):
            self._note(f"the cache has slates of version {current.number}, and version {served} is served")
            return [None] * len(keys)
        entries = [Entry.from_bytes(value) if key else None for key, value in zip(keys, values)]
        return [
            entry if entry and entry.version == current.version and entry.expires_ms > now_ms else None
            for entry in entries
        ]

    def _pages(self, wanted: Wanted, keys: Sequence[bytes], entries: Sequence[Entry | None]) -> list[Page]:
        """What the entries have for a page of each user."""
        kept = self._kept(keys, entries)
        pages = []
        for entry, places, excluded in zip(entries, kept, wanted.excluded):
            page = Page(wanted.start, wanted.stop)
            if entry is not None and places is not None:
                page.add_entry(entry, places, self._hidden(excluded), CACHE)
            pages.append(page)
        return pages

    def _kept(self, keys: Sequence[bytes], entries: Sequence[Entry | None]) -> list[list[int] | None]:
        if self._live is None:
            return [None if entry is None else list(range(len(entry.keys))) for entry in entries]
        return self._live.kept(keys, entries, self._known is None or self._known[1].filter_seen)

    def _ask_chain(self, wanted: Wanted, pages: list[Page], context: Mapping[str, Sequence[Any]]) -> None:
        """Fill the pages that are not full."""
        short = [place for place, page in enumerate(pages) if page.num_missing]
        if not short or self._chain is None:
            return
        size = max(pages[place].num_missing for place in short)
        try:
            made = self._chain.slates(
                [wanted.user_ids[place] for place in short],
                [[*wanted.excluded[place], *pages[place].item_ids] for place in short],
                size,
                {name: [values[place] for place in short] for name, values in context.items()},
            )
        except CascadeClientError as error:
            self._note(error)
            return
        for place, slate in zip(short, made):
            pages[place].add_slate(slate)

    def _add_popular(self, wanted: Wanted, keys: Sequence[bytes], pages: list[Page]) -> None:
        """Everybody's items for the users of whom nothing is there."""
        empty = [place for place, page in enumerate(pages) if not page.path]
        if not empty or self._popular is None:
            return
        everybody = [self._popular] * len(empty)
        of_users = self._kept([keys[place] for place in empty], everybody)
        of_all = self._kept([b""] * len(empty), everybody)
        for place, own, shared in zip(empty, of_users, of_all):
            # A user who was forgotten has seen nothing.
            places = own if own is not None else shared
            hidden = self._hidden(wanted.excluded[place])
            pages[place].add_entry(self._popular, places or [], hidden, self._popular.path)

    def _hidden(self, excluded: Sequence[Id]) -> Collection[Id]:
        """What a request excludes and what is blocked."""
        return [*excluded, *self._blocked[1]] if self._blocked[1] else excluded


def _ids(text: bytes | None) -> frozenset[str]:
    """The ids in a JSON list, as text."""
    try:
        return frozenset(map(str, json.loads(text or b"[]")))
    except (ValueError, TypeError) as error:
        raise CacheAway(f"the cache's blocked items cannot be read ({error!r}); `cascade block` writes them") from error
