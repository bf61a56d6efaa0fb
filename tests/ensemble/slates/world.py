"""Caches whose entries are written by hand, so that every answer is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cascade_client import Id, Slate
from cascade_client.slate_entry import CURRENT
from ensemble.slates.ask import Answer
from ensemble.slates.cache.open import open_cache
from ensemble.slates.entries import entries_of, popular_item
from ensemble.slates.records import Current, item_of

__all__ = ["POPULAR", "current", "fill", "now_ms"]

POPULAR = [900, 901, 902, 903]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def current(
    version: str = "1.aa", *, text_ids: bool = False, size: int = 2, ttl_s: int = 60, seen: bool = True
) -> Current:
    kind = "BYTES" if text_ids else "INT64"
    return Current(version, kind, kind, size, 3 * size, seen, ttl_s, {}, 0, -1, now_ms())


def fill(
    url: str,
    slates: Mapping[Id, Sequence[Id]],
    record: Current,
    *,
    offset: int = -1,
    asked_at_ms: int | None = None,
    popular: Sequence[Id] = POPULAR,
) -> None:
    """Write slates and everybody's, and let their version be read."""
    made = [Slate(u, list(items), _scores(items), "known_user", offset, 0) for u, items in slates.items()]
    at = now_ms() if asked_at_ms is None else asked_at_ms
    for_all = Slate("", list(popular), _scores(popular), "popularity", offset, None)
    with open_cache(url, create=True) as cache:
        cache.put([*entries_of(record, Answer(made, at)), popular_item(record, for_all, at), item_of(CURRENT, record)])


def _scores(items: Sequence[Id]) -> list[float]:
    return [1 / (1 + place) for place in range(len(items))]
