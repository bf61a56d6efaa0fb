"""The way of one item through one answer: what each step made of it, read from the arrays between the steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operations.why.nodes import Nodes
from runtime.index.allowed import are_set
from runtime.index.eligible import ELIGIBLE_FILE
from runtime.sources.base import QueriedUser, real
from runtime.spec import POPULARITY
from runtime.step import Arrays, load_array
from runtime.steps.merge import Union
from runtime.steps.order import Order

__all__ = [
    "ELIGIBILITY",
    "EXCLUDED",
    "INDEX",
    "MERGE",
    "SEEN",
    "SHOWN",
    "SLATE",
    "SOURCES",
    "Standing",
    "Way",
    "standing",
]

# Where an item is lost; in a graph of the user's own also the name of a node.
ELIGIBILITY, EXCLUDED, SEEN, INDEX, SOURCES, MERGE, SLATE = (
    *("eligibility", "excluded", "seen", "index", "sources", "merge", "slate"),
)
SHOWN = ""


class Standing(NamedTuple):
    """Where an item stands among others.

    Attributes:
        rank: from 1 on, by descending score, ties by row.
        score: of the item.
        total: of all that have one.
        last: the lowest score among the first that go on.
    """

    rank: int
    score: float
    total: int
    last: float


@dataclass(frozen=True)
class Way:
    """The way of one item through the answer to one user of a batch.

    Attributes:
        nodes: that ran.
        arrays: what they gave.
        user: the place in the batch.
        row: of the item.
    """

    nodes: Nodes
    arrays: Arrays
    user: int
    row: int

    @cached_property
    def place(self) -> int | None:
        """In the slate that is answered, from 1 on."""
        return self._place_in(self.nodes.answer(self.arrays))

    @cached_property
    def path(self) -> int:
        """What the slate rests on, a position of `runtime.spec.PATHS`."""
        return int(self.arrays["path_code"][self.user, 0])

    @cached_property
    def is_ranked(self) -> bool:
        """Whether something is known of the user, so that sources are merged and candidates ranked."""
        return self.path != POPULARITY and self.nodes.places.merge is not None

    @cached_property
    def is_eligible(self) -> bool:
        """Whether stock and rules allow the item; true in a graph without sources."""
        places = self.nodes.places.sources
        if not places:
            return True
        if (live := self.nodes.source(places[0]).live) is not None:
            return bool(live.holds(np.array([self.row]))[0])
        return bool(are_set(load_array(self.nodes.folder / ELIGIBLE_FILE), np.array([self.row]))[0])

    @cached_property
    def queried(self) -> dict[int, QueriedUser]:
        """The user as each source sees them, by the place of the source; those that are not queried are left out."""
        found = {}
        for place in self.nodes.places.sources:
            users = list(self.nodes.source(place).users(self.nodes.batch(place, self.arrays)))
            if (user := users[self.user]) is not None:
                found[place] = user
        return found

    @cached_property
    def is_excluded(self) -> bool:
        """Whether the request excludes the item."""
        return bool(self.queried) and self.row in real(self.arrays["excluded_rows"][self.user])

    @cached_property
    def is_seen(self) -> bool:
        """Whether the user has interacted with the item."""
        return any(self.row in user.seen for user in self.queried.values())

    @cached_property
    def is_blocked(self) -> bool:
        """Whether no source may give the item to the user."""
        return not self.is_eligible or any(self.row in user.blocked for user in self.queried.values())

    def found_by(self, place: int) -> Standing | None:
        """Where the item stands among what a source gave; None where it did not give it."""
        name = self.nodes.opened[place].step.name
        given = self.nodes.given(place, self.arrays)
        rows = real(given[f"{name}_items"][self.user])
        return standing(rows, given[f"{name}_scores"][self.user, : len(rows)], self.row, len(rows))

    @cached_property
    def union(self) -> Union:
        """What the sources found together; only where `is_ranked`."""
        assert self.nodes.places.merge is not None
        return self.nodes.merge().union(self.nodes.batch(self.nodes.places.merge, self.arrays), self.user)

    @cached_property
    def scored(self) -> tuple[float, dict[str, float]]:
        """The item's merged score, or the one that it would have, and that of each source; only where `is_ranked`."""
        assert self.nodes.places.merge is not None
        batch = self.nodes.batch(self.nodes.places.merge, self.arrays)
        merged, by_source = self.nodes.merge().scored(batch, self.user, np.array([self.row]))
        return float(merged[0]), {name: float(scores[0]) for name, scores in by_source.items()}

    @cached_property
    def merged(self) -> Standing | None:
        """Where the item stands in the union; None where no source put it there."""
        places = int(self.nodes.spec.num_candidates - self.nodes.merge().kept_by_quota(self.union).sum())
        return standing(self.union.rows, self.union.merged, self.row, max(places, 0), self._not_kept)

    @cached_property
    def last_merged(self) -> float:
        """The merged score of the last candidate that no quota has kept; NaN where there is none."""
        candidates = self.candidates()
        scores = self.union.merged[np.isin(self.union.rows, candidates) & self._not_kept]
        return float(scores.min()) if len(scores) else np.nan

    @cached_property
    def is_kept_by_quota(self) -> bool:
        """Whether a quota makes the item a candidate."""
        return bool((~self._not_kept)[self.union.rows == self.row].any())

    @cached_property
    def _not_kept(self) -> NDArray[np.bool_]:
        return ~self.nodes.merge().kept_by_quota(self.union)

    def candidates(self, place: int | None = None) -> NDArray:
        """The rows of the candidates that a node gave, by default the merge."""
        place = self.nodes.places.merge if place is None else place
        if place is None:
            return np.zeros(0, np.int64)
        return real(self.nodes.given(place, self.arrays)["candidates"][self.user])

    def stood(self, node: int, name: str) -> Standing | None:
        """Where the item stands among the candidates by a score that a node gave."""
        return self._among(self.nodes.given(node, self.arrays)[name][self.user])

    @cached_property
    def ordered(self) -> Standing | None:
        """Where the item stands by what orders the candidates; None where it is none, or the graph has no such step."""
        if self.order_values is None:
            return None
        rows, values = self.order_values
        return standing(rows, values, self.row, self.wanted)

    @cached_property
    def order_values(self) -> tuple[NDArray, NDArray] | None:
        """Item rows of the candidates and what orders them; None where the graph has no such step."""
        place = self.nodes.places.order
        if place is None:
            return None
        batch = self.nodes.batch(place, self.arrays)
        step = self.nodes.opened[place].step
        assert isinstance(step, Order)
        rows, values = batch["candidates"][self.user], batch[step.key(self.nodes.spec)][self.user]
        return rows[rows >= 0], values[rows >= 0]

    @cached_property
    def wanted(self) -> int:
        """The size of the slate."""
        return int(self.arrays["num_wanted"][self.user, 0])

    @cached_property
    def lost_at(self) -> str:
        """Where the item is lost: one of this module's names, or that of a node; SHOWN where it is not."""
        if self.place is not None:
            return SHOWN
        if not self.is_eligible:
            return ELIGIBILITY
        if self.is_blocked:
            return EXCLUDED if self.is_excluded else SEEN
        places = self.nodes.places
        if places.merge is not None and self.row not in self.candidates():
            return MERGE if self.is_ranked and self.merged is not None else SOURCES
        return self._lost_later() or SLATE

    def _lost_later(self) -> str:
        """The node of the user's own that has dropped the item; empty where none has."""
        places = self.nodes.places
        for place in range((places.merge or 0) + 1, len(self.nodes.plan)):
            given = self.nodes.given(place, self.arrays)
            if "candidates" in given and self.row not in given["candidates"][self.user]:
                return self.nodes.plan[place].name
            if "item_id" in given and place != places.order and self._place_in(given) is None:
                was_shown = places.order is not None and self.ordered is not None and self.ordered.rank <= self.wanted
                return self.nodes.plan[place].name if was_shown or places.order is None else ""
        return ""

    def _place_in(self, answer: Arrays) -> int | None:
        shown = answer["item_id"][self.user, : int(answer["num_items"][self.user, 0])]
        found = np.flatnonzero(shown == self.nodes.raw_id(self.row))
        return int(found[0]) + 1 if len(found) else None

    def _among(self, scores: NDArray) -> Standing | None:
        rows = self.arrays["candidates"][self.user]
        real_ones = rows >= 0
        return standing(rows[real_ones], scores[real_ones], self.row, self.wanted)


def standing(
    rows: NDArray, scores: NDArray, row: int, count: int, among: NDArray[np.bool_] | None = None
) -> Standing | None:
    """Where an item stands; None where it is not among the rows.

    Args:
        rows: distinct item rows [K].
        scores: of them [K].
        row: of the item.
        count: how many go on.
        among: bool [K], which of them compete for the last of these places; all by default.
    """
    at = np.flatnonzero(rows == row)
    if not len(at):
        return None
    score = scores[at[0]]
    rank = 1 + int(np.count_nonzero((scores > score) | ((scores == score) & (rows < row))))
    competing = scores if among is None else scores[among]
    last = np.sort(competing)[::-1][:count]
    return Standing(rank, float(score), len(rows), float(last[-1]) if len(last) else float("nan"))
