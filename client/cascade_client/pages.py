"""Pages of slates: what is wanted, and how a page is filled from an entry of a cache and a slate of the server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from cascade_client.errors import RequestRefused
from cascade_client.slate_entry import Entry
from cascade_client.slates import Id, Slate

__all__ = ["CACHE", "NONE", "Page", "Wanted", "check"]

# Paths beside those of the server: from the cache, and of an empty slate that nothing could fill.
CACHE, NONE = "cache", "none"


class Wanted(NamedTuple):
    """A request of B users: what must not come [B], the page from 1 on, and the items on a page."""

    user_ids: list[Id]
    excluded: list[list[Id]]
    page: int
    size: int

    @property
    def start(self) -> int:
        """The place of the page's first item."""
        return (self.page - 1) * self.size

    @property
    def stop(self) -> int:
        """One more than the place of its last item."""
        return self.page * self.size


class Page:
    """One page of one user: all items up to its end, of which the last ones are shown.

    Args:
        start, stop: places of its items.
    """

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop
        self.item_ids: list[Id] = []
        self._scores: list[float] = []
        self._offset: int | None = None
        self._age_ms: int | None = None
        self.path = ""

    @property
    def num_missing(self) -> int:
        """How many items it lacks, with those of the pages before it."""
        return max(self._stop - len(self.item_ids), 0)

    def add_entry(self, entry: Entry, places: Sequence[int], excluded: Collection[Id], path: str) -> None:
        """Add the items at some places of an entry, but for the excluded ones."""
        hidden = {str(item) for item in excluded}
        chosen = [place for place in places if not hidden or str(entry.item_ids[place]) not in hidden]
        self.item_ids = [entry.item_ids[place] for place in chosen]
        self._scores = entry.scores[chosen].tolist()
        self._offset, self.path = entry.offset, path

    def add_slate(self, slate: Slate) -> None:
        """Add a slate of the server, which has none of the items so far; it says what the page was made from."""
        if len(slate.item_ids) or not self.path:
            self.path = slate.path
            self._offset, self._age_ms = slate.stream_offset, slate.state_age_ms
        missing = self.num_missing
        self.item_ids += slate.item_ids[:missing]
        self._scores += slate.scores[:missing]

    def slate(self, user_id: Id) -> Slate:
        """The page as it is shown."""
        shown = slice(self._start, self._stop)
        return Slate(user_id, self.item_ids[shown], self._scores[shown], self.path or NONE, self._offset, self._age_ms)


def check(
    user_ids: Sequence[Id], exclude_item_ids: Sequence[Sequence[Id]] | None, slate_size: int | None, page: int
) -> None:
    """Refuse arguments that do not fit.

    Raises:
        RequestRefused: names the argument, what came and what was expected.
    """
    if isinstance(user_ids, (str, bytes)) or not hasattr(user_ids, "__len__") or len(user_ids) == 0:
        raise RequestRefused(f"user_ids must be a list of at least one user id, got {user_ids!r}")
    if exclude_item_ids is not None and len(exclude_item_ids) != len(user_ids):
        raise RequestRefused(
            f"exclude_item_ids must have one list for each of the {len(user_ids)} user ids, got {len(exclude_item_ids)}"
        )
    for name, number in (("slate_size", slate_size), ("page", page)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise RequestRefused(f"{name} must be a whole number from 1 on, got {number!r}")
