"""The funnel of one answer: how many items each step of the chain left, and how the items of the slate came there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from operations.why.ran import Ran
from operations.why.rules import Rules
from operations.why.slate_moves import RuleMoves, kept_by_rules, rule_moves
from operations.why.way import Way
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.index.allowed import are_set
from runtime.index.eligible import ELIGIBLE_FILE
from runtime.sources.base import real
from runtime.spec import PATHS, UTILITY
from runtime.step import load_array

__all__ = ["Found", "Funnel", "HeldBack", "Interaction", "Shown", "Stage", "funnel_of"]

FIRST = 10


class Interaction(msgspec.Struct, frozen=True):
    """An item of the user's history; origin: "export", "live events" or "request"."""

    row: int
    origin: str


class HeldBack(msgspec.Struct, frozen=True):
    """Items that a filter drops, whatever their scores; those that several filters drop count for each."""

    reason: str
    count: int


class Found(msgspec.Struct, frozen=True):
    """What a source found.

    Attributes:
        name: of the source.
        is_queried: whether it was asked, for such a user.
        weight, quota: see `runtime.spec.SourceSpec`.
        count: items that it found.
        num_candidates, num_shown: of these, those that became candidates, and those in the slate.
        num_alone: candidates that no other source found.
        first: the rows of its first items, and its scores of them.
    """

    name: str
    is_queried: bool
    weight: float
    quota: int
    count: int
    num_candidates: int
    num_shown: int
    num_alone: int
    first: list[tuple[int, float]]


class Stage(msgspec.Struct, frozen=True):
    """How many items are left after a part of the chain; what: in words."""

    name: str
    count: int
    what: str


class Shown(msgspec.Struct, frozen=True):
    """An item of the slate, or one that was nearly in it.

    Attributes:
        row: of the item; -1 where a graph of one's own shows what is no candidate.
        place: in the slate, from 1 on; None: not in it.
        score: as it is answered; of an item that is not shown what orders the candidates.
        utility: what it is worth, where that orders the slate.
        merged_place: among the candidates as the sources have them, by merged score; None without a merge.
        rank: among the candidates by what orders them; None in a graph without such a step.
        sources: the sources that found it, and its place in each.
    """

    row: int
    place: int | None
    score: float
    utility: float | None
    merged_place: int | None
    rank: int | None
    sources: dict[str, int]


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, step by step.

    Attributes:
        path: what the slate rests on, one of `runtime.spec.PATHS`.
        is_known: whether the export knows the user.
        history: what the user has interacted with and in which order, the latest first.
        num_seen: distinct items that the user has interacted with.
        num_unknown_recent: recent items of the request that the catalogue lacks.
        held_back: by filter.
        found: by source.
        stages: how many items are left after each step.
        merged_cut: the lowest merged score of a candidate; None where nothing is merged.
        num_by_quota: candidates that only a quota keeps.
        moves: of each candidate its place by merged score and its rank by what orders them, by rank.
        rules: what the rules for slates did, by kind; none where the chain has none.
        slate: the items shown.
        fallen: candidates that the sources had among their first S and that are not shown.
        slate_size: S.
    """

    path: str
    is_known: bool
    history: list[Interaction]
    num_seen: int
    num_unknown_recent: int
    held_back: list[HeldBack]
    found: list[Found]
    stages: list[Stage]
    merged_cut: float | None
    num_by_quota: int
    moves: list[tuple[int, int]]
    rules: list[RuleMoves]
    slate: list[Shown]
    fallen: list[Shown]
    slate_size: int


def funnel_of(ran: Ran, rules: Rules, ids: NDArray) -> Funnel:
    """The funnel of an answer.

    Args:
        ran: the answer.
        rules: of the export.
        ids: raw item ids by row.
    """
    way = Way(ran.nodes, ran.arrays, 0, NO_ITEM)
    places = ran.nodes.places
    lists = dict(_lists(way))
    merged = way.candidates() if places.merge is not None else np.zeros(0, np.int64)
    slate = _slate(way, lists, merged, ids)
    shown = np.array([item.row for item in slate], np.int64)
    allowed, held_back = _filters(ran, way, rules)
    return Funnel(
        path=PATHS[way.path],
        is_known=int(ran.parsed.user_row[0]) >= 0,
        history=_history(ran),
        num_seen=next((len(user.seen) for user in way.queried.values()), 0),
        num_unknown_recent=int(np.count_nonzero(ran.parsed.recent == UNKNOWN)),
        held_back=held_back,
        found=list(_found(way, lists, merged, shown)),
        stages=list(_stages(way, lists, allowed, len(slate))),
        merged_cut=way.last_merged if way.is_ranked else None,
        num_by_quota=_num_by_quota(way) if way.is_ranked else 0,
        moves=_moves(way, merged),
        rules=list(rule_moves(way)),
        slate=slate,
        fallen=_fallen(way, lists, merged, shown),
        slate_size=way.wanted,
    )


def _lists(way: Way) -> Iterator[tuple[str, tuple[NDArray, NDArray]]]:
    """By source that was asked: the rows that it gave and their scores, best first."""
    for place in way.queried:
        name = way.nodes.source(place).name
        given = way.nodes.given(place, way.arrays)
        rows = real(given[f"{name}_items"][0])
        scores = given[f"{name}_scores"][0, : len(rows)]
        order = np.lexsort((rows, -scores))
        yield name, (rows[order], scores[order])


def _found(way: Way, lists: Mapping[str, tuple[NDArray, NDArray]], merged: NDArray, shown: NDArray) -> Iterator[Found]:
    specs = {source.name: source for source in way.nodes.spec.sources}
    for place in way.nodes.places.sources:
        name = way.nodes.source(place).name
        rows, scores = lists.get(name, (np.zeros(0, np.int64), np.zeros(0, np.float32)))
        others = np.concatenate(
            [np.zeros(0, np.int64), *(given for other, (given, _) in lists.items() if other != name)]
        )
        kept = rows[np.isin(rows, merged)]
        yield Found(
            name=name,
            is_queried=place in way.queried,
            weight=specs[name].weight if name in specs else 0.0,
            quota=specs[name].quota if name in specs else 0,
            count=len(rows),
            num_candidates=len(kept),
            num_shown=int(np.isin(rows, shown).sum()),
            num_alone=int((~np.isin(kept, others)).sum()),
            first=list(zip(rows[:FIRST].tolist(), scores[:FIRST].tolist(), strict=True)),
        )


def _filters(ran: Ran, way: Way, rules: Rules) -> tuple[int, list[HeldBack]]:
    """How many items may be shown to the user, and what each filter drops."""
    if not way.nodes.places.sources:
        return way.nodes.spec.num_items, []
    eligible = _eligible(way)
    held = [HeldBack(f"not {met.words}", int(np.count_nonzero(~met.holds))) for met in rules.conditions]
    by_tables = np.all([met.holds for met in rules.conditions], axis=0) if rules.conditions else np.array(True)
    if rules.unknown:
        held.append(HeldBack("not allowed by stock and rules", int(np.count_nonzero(~eligible))))
    elif changed := int(np.count_nonzero(by_tables & ~eligible)):
        held.append(HeldBack("out of stock, as live events say", changed))
    blocked = np.isin(np.arange(len(eligible)), ran.blocked)
    excluded = np.zeros(len(eligible), bool)
    excluded[real(ran.parsed.exclude[0])] = True
    excluded &= ~blocked
    seen = np.zeros(len(eligible), bool)
    for user in way.queried.values():
        seen[user.seen] = True
    for reason, dropped in (("blocked for all users", blocked), ("excluded by the request", excluded)):
        if dropped.any():
            held.append(HeldBack(reason, int(dropped.sum())))
    if way.nodes.spec.filter_seen:
        held.append(HeldBack("seen by the user", int(seen.sum())))
        excluded |= seen
    return int(np.count_nonzero(eligible & ~blocked & ~excluded)), held


def _eligible(way: Way) -> NDArray[np.bool_]:
    """Which items stock and rules allow, bool [N]."""
    rows = np.arange(way.nodes.spec.num_items)
    if (live := way.nodes.source(way.nodes.places.sources[0]).live) is not None:
        return live.holds(rows)
    return are_set(load_array(way.nodes.folder / ELIGIBLE_FILE), rows)


def _stages(way: Way, lists: Mapping[str, tuple[NDArray, NDArray]], allowed: int, num_shown: int) -> Iterator[Stage]:
    yield Stage("catalogue", way.nodes.spec.num_items, "items")
    if way.nodes.places.sources:
        yield Stage("filters", allowed, "may be shown to this user")
        together = len(np.unique(np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in lists.values())])))
        yield Stage("sources", together, "found by the sources together")
    merge = way.nodes.places.merge
    if merge is not None:
        yield Stage("merge", len(way.candidates()), "candidates, the best by merged score")
    for place in range((merge or 0) + 1, len(way.nodes.plan)):
        if "candidates" in way.nodes.plan[place].gives:
            yield Stage(way.nodes.plan[place].name, len(way.candidates(place)), "candidates left by this step")
    if (kept := kept_by_rules(way)) is not None:
        yield Stage("rules for slates", kept, f"of the {num_shown} best, which the rules leave in the slate")
    yield Stage("slate", num_shown, "shown")


def _num_by_quota(way: Way) -> int:
    kept = way.nodes.merge().kept_by_quota(way.union)
    return int(np.count_nonzero(kept & (way.union.merged < way.last_merged)))


def _ordered(way: Way) -> tuple[NDArray, NDArray]:
    """The rows of the candidates and what orders them, best first; none in a graph without such a step."""
    if (order := way.order_values) is None:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    rows, values = order
    best = np.lexsort((rows, -values))
    return rows[best], values[best]


def _moves(way: Way, merged: NDArray) -> list[tuple[int, int]]:
    rows, _ = _ordered(way)
    places = {row: place for place, row in enumerate(merged.tolist(), start=1)}
    return [(places[row], rank) for rank, row in enumerate(rows.tolist(), start=1) if row in places]


def _slate(way: Way, lists: Mapping[str, tuple[NDArray, NDArray]], merged: NDArray, ids: NDArray) -> list[Shown]:
    answer, (rows, _) = way.nodes.answer(way.arrays), _ordered(way)
    candidates = rows if len(rows) else merged
    by_id = dict(zip(ids[candidates].tolist(), candidates.tolist(), strict=True))
    count = int(answer["num_items"][0, 0])
    shown = [by_id.get(item, NO_ITEM) for item in answer["item_id"][0, :count].tolist()]
    utilities = answer[UTILITY][0].tolist() if UTILITY in answer else [None] * count
    scores = answer["score"][0].tolist()
    return [
        _item(row, place, scores[place - 1], utilities[place - 1], lists, merged, rows)
        for place, row in enumerate(shown, start=1)
    ]


def _fallen(way: Way, lists: Mapping[str, tuple[NDArray, NDArray]], merged: NDArray, shown: NDArray) -> list[Shown]:
    rows, values = _ordered(way)
    value_of = dict(zip(rows.tolist(), values.tolist(), strict=True))
    first = [row for row in merged[: way.wanted].tolist() if row not in shown]
    return [_item(row, None, value_of.get(row, np.nan), None, lists, merged, rows) for row in first]


def _item(
    row: int,
    place: int | None,
    score: float,
    utility: float | None,
    lists: Mapping[str, tuple[NDArray, NDArray]],
    merged: NDArray,
    ordered: NDArray,
) -> Shown:
    found = {name: at for name, (rows, _) in lists.items() if (at := _place(rows, row)) is not None}
    return Shown(row, place, score, utility, _place(merged, row), _place(ordered, row), found)


def _place(rows: NDArray, row: int) -> int | None:
    found = np.flatnonzero(rows == row)
    return int(found[0]) + 1 if len(found) else None


def _history(ran: Ran) -> list[Interaction]:
    """The latest first; an item that came more than once is where it came last."""
    row, path = int(ran.parsed.user_row[0]), ran.nodes.folder / "state/history.npy"
    stored = load_array(path)[row].tolist() if row >= 0 and path.is_file() else []
    asked = ran.parsed.recent[0].tolist()
    live = [] if ran.live is None else _before(ran.live.recent[0].tolist(), asked)
    found: dict[int, str] = {}
    for origin, rows in (("export", stored), ("live events", live), ("request", asked)):
        for item in rows:
            found.pop(item, None)
            found[item] = origin
    return [Interaction(item, origin) for item, origin in reversed(found.items()) if item >= 0]


def _before(rows: Sequence[int], last: Sequence[int]) -> list[int]:
    """Rows without those of the request, which come last and without padding between."""
    kept = [row for row in rows if row != NO_ITEM]
    asked = [row for row in last if row != NO_ITEM]
    return kept[: len(kept) - len(asked)] if asked and kept[-len(asked) :] == asked else kept
