"""What a cache of slates knows of itself: the version that is read, a build under way, and how far the refresh is."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from cascade_client.slate_entry import BUILDING, CURRENT, meta_key
from ensemble.slates.cache.base import Cache, Item
from workflows.core.errors import ArtefactError

__all__ = ["REFRESH", "Building", "Current", "Refreshed", "item_of", "read_building", "read_current", "read_refreshed"]

REFRESH = "refresh"


class Current(msgspec.Struct, frozen=True):
    """The version that is read.

    Attributes:
        version: the server's number of it and, where the repository was at hand, "." and the beginning of its content.
        user_id_dtype, item_id_dtype: INT64 or BYTES.
        slate_size: items that are shown where nobody says how many.
        num_items: items in an entry.
        filter_seen: whether seen items are never shown.
        ttl_s: how long an entry is served.
        context: fixed values of context features, as text.
        num_users: that were built.
        offset: events with smaller offsets are in every slate that was built; -1 without a live state.
        made_at_ms: when the build began.
    """

    version: str
    user_id_dtype: str
    item_id_dtype: str
    slate_size: int
    num_items: int
    filter_seen: bool
    ttl_s: int
    context: dict[str, str]
    num_users: int
    offset: int
    made_at_ms: int

    @property
    def number(self) -> str:
        """The version as the server numbers it."""
        return self.version.partition(".")[0]


class Building(msgspec.Struct, frozen=True):
    """A build that is not finished.

    Attributes:
        key: equal for builds of the same version, users and options.
        done: users whose entries are there, the first ones.
        offset: the smallest of their slates.
        made_at_ms: when it began.
    """

    key: str
    done: int
    offset: int
    made_at_ms: int


class Refreshed(msgspec.Struct, frozen=True):
    """How far the refresh is.

    Attributes:
        built_at_ms: `made_at_ms` of the build that it goes on from.
        offset: the users of events below it have slates that know these.
        at_ms: when that was so.
    """

    built_at_ms: int
    offset: int
    at_ms: int


Record = TypeVar("Record", Current, Building, Refreshed)


def item_of(name: str, record: Current | Building | Refreshed | None) -> Item:
    """What is written to a cache for a record; None removes it."""
    return Item(meta_key(name), None if record is None else msgspec.json.encode(record))


def read_current(cache: Cache) -> Current | None:
    """The version that is read; None before the first build has finished.

    Raises:
        ArtefactError: it was written by another version of Cascade.
    """
    return _read(cache, CURRENT, Current)


def read_building(cache: Cache) -> Building | None:
    """The build that is not finished; None where there is none."""
    return _read(cache, BUILDING, Building)


def read_refreshed(cache: Cache) -> Refreshed | None:
    """How far the refresh is; None where it never ran."""
    return _read(cache, REFRESH, Refreshed)


def _read(cache: Cache, name: str, kind: type[Record]) -> Record | None:
    (value,) = cache.get([meta_key(name)])
    try:
        return None if value is None else msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise ArtefactError(
            f"the cache's record '{name}' cannot be read ({error}): another version of Cascade wrote it; use an "
            "empty cache"
        ) from error
