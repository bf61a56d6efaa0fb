"""Which slate an event is of: a pure function of all events and slates, so that their order of arrival changes nothing.

An event that names a request is of that request or of none. Any other is of the latest slate of its user that holds
the item and was given within `window_ns` before it. What was before its slate, and what was never shown, is unmatched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

__all__ = ["ATTRIBUTED", "BY_ID", "EARLY", "FOREIGN", "NO_SLATE", "NO_VERSION", "Match", "Said", "Slate", "match"]

BY_ID, ATTRIBUTED = "id", "attributed"
# Why an event is unmatched.
EARLY = "early"  # it was before the slate
FOREIGN = "foreign"  # the slates do not hold the item
NO_SLATE = "no_slate"  # the request, or any slate of the user at that time, is not logged, or not collected yet
NO_VERSION = "no_version"  # the files of the version that answered are gone, and with them the ids of its items


class Said(NamedTuple):
    """What an event says; see the columns of operations.feedback.schema. position -1 and request_id "": not said."""

    request_id: str
    position: int
    user_keys: Collection[bytes]
    item_id: str
    at: int


class Slate(NamedTuple):
    """A slate of the log.

    Attributes:
        key: of it.
        request_id: of the request.
        position: of the user in it.
        user_key: of the user.
        at: nanoseconds since 1970.
        chain_key: of the version.
        items: rows of the items, best first.
    """

    key: bytes
    request_id: str
    position: int
    user_key: bytes
    at: int
    chain_key: str
    items: Sequence[int]


class Match(NamedTuple):
    """What became of an event.

    Attributes:
        how: BY_ID, ATTRIBUTED, or "" where it is unmatched.
        why_not: of an unmatched one.
        slate: that it is of.
        rank: of the item in it, 1 the best.
    """

    how: str
    why_not: str
    slate: Slate | None = None
    rank: int = 0


def match(
    events: Sequence[Said], slates: Sequence[Slate], rows: Mapping[str, Mapping[str, int]], window_ns: int
) -> list[Match]:
    """Find the slates of events.

    Args:
        events: n.
        slates: every one that may hold one of them.
        rows: chain key -> raw item id as text -> row; of a version that is gone there is none.
        window_ns: how long after a slate an event without a request id may be of it.

    Returns:
        n.
    """
    return _Slates(slates, rows, window_ns).matches(events)


class _Slates:
    def __init__(self, slates: Sequence[Slate], rows: Mapping[str, Mapping[str, int]], window_ns: int) -> None:
        self._rows, self._window = rows, window_ns
        self._by_request: dict[str, list[Slate]] = defaultdict(list)
        self._by_user: dict[bytes, list[Slate]] = defaultdict(list)
        for slate in sorted(slates, key=lambda slate: (slate.at, slate.key)):
            self._by_request[slate.request_id].append(slate)
            self._by_user[slate.user_key].append(slate)

    def matches(self, events: Sequence[Said]) -> list[Match]:
        return [self._by_id(event) if event.request_id else self._attributed(event) for event in events]

    def _by_id(self, event: Said) -> Match:
        found = self._by_request.get(event.request_id, [])
        if not found:
            return Match("", NO_SLATE)
        if event.position >= 0:
            found = [slate for slate in found if slate.position == event.position]
        elif len(found) > 1:
            found = [slate for slate in found if slate.user_key in event.user_keys] or found
        held = [(slate, rank) for slate in found if (rank := self._rank(event, slate))]
        if len(held) != 1:  # of several users of one request, whose it is was not said
            return Match("", self._why_not(found))
        slate, rank = held[0]
        return Match(BY_ID, "", slate, rank) if event.at >= slate.at else Match("", EARLY)

    def _attributed(self, event: Said) -> Match:
        latest: tuple[int, bytes] = (-1, b"")
        best, near, is_early = Match("", NO_SLATE), [], False
        for key in event.user_keys:
            slates = self._by_user.get(key, [])
            place = bisect_right(slates, event.at, key=_at) if slates else 0
            for slate in reversed(slates[:place]):
                if slate.at < event.at - self._window or (slate.at, slate.key) < latest:
                    break
                near.append(slate)
                if rank := self._rank(event, slate):
                    best, latest = Match(ATTRIBUTED, "", slate, rank), (slate.at, slate.key)
                    break
            later = [slate for slate in slates[place:] if slate.at <= event.at + self._window]
            near += later
            is_early = is_early or any(self._rank(event, slate) for slate in later)
        if best.how or not near:
            return best
        return Match("", EARLY if is_early else self._why_not(near))

    def _rank(self, event: Said, slate: Slate) -> int:
        """The rank of the event's item; 0 where it is not in the slate."""
        row = self._rows.get(slate.chain_key, {}).get(event.item_id)
        return slate.items.index(row) + 1 if row is not None and row in slate.items else 0

    def _why_not(self, slates: Sequence[Slate]) -> str:
        is_gone = any(slate.chain_key not in self._rows for slate in slates)
        return NO_VERSION if is_gone else FOREIGN


def _at(slate: Slate) -> int:
    return slate.at
