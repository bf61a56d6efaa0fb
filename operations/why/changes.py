"""What would have changed an answer: the chain run once more for each thing that could be otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from operations.why.answer import Change
from operations.why.asking import Asking, Changed, as_candidate
from operations.why.deep import found_with
from operations.why.overlay import allowing
from operations.why.question import removing
from operations.why.rules import Condition, Rules
from operations.why.way import INDEX, MERGE, SLATE, SOURCES, Standing
from runtime.index.settings import EXACT, Settings
from runtime.request import Parsed

__all__ = ["changes_of"]


def changes_of(
    asking: Asking,
    rules: Rules,
    lost_at: str,
    deep: Mapping[int, Standing | None],
    seen_counts: bool,
    counts_candidates: bool = True,
) -> Iterator[Change]:
    """What would have changed the answer.

    Args:
        asking: the question.
        rules: of the export.
        lost_at: where the item is lost.
        deep: where it stands in the sources, by their place.
        seen_counts: whether seen items are not shown.
        counts_candidates: whether to look for the fewest candidates with which the item is one, which takes most of the
            time.
    """
    way = asking.way
    if way.is_blocked:
        yield from _without_filters(asking, rules, seen_counts)
    elif lost_at in (INDEX, SOURCES, MERGE):
        if lost_at == INDEX:
            exact = replace(way.nodes.spec, index=Settings(EXACT))
            yield Change("index", "with an exact search", asking.outcome(Changed(spec=exact)))
        if way.is_ranked:
            yield Change("candidate", "were it a candidate, in the place of the last one", as_candidate(way))
        if counts_candidates:
            yield from _with_more_candidates(asking, deep)
    elif lost_at == SLATE and way.ordered is not None:
        yield from _with_a_longer_slate(asking, way.ordered.rank)


def _without_filters(asking: Asking, rules: Rules, seen_counts: bool) -> Iterator[Change]:
    way, row = asking.way, np.array([asking.question.row])
    ways_out = 0
    if not way.is_eligible:
        for words, change in _eligible(asking, rules):
            ways_out += 1
            yield Change("rule", words, asking.outcome(change))
    if way.is_excluded:
        ways_out += 1
        parsed = _not_excluding(asking)
        yield Change("exclude", "were it neither excluded nor blocked", asking.outcome(Changed(parsed=parsed)))
    if way.is_seen and seen_counts:
        ways_out += 1
        yield Change("seen", "had the user not interacted with it", asking.outcomes_without([row])[0])
        shown = Changed(spec=replace(way.nodes.spec, filter_seen=False))
        yield Change("filter_seen", "with chain.filter_seen = false", asking.outcome(shown))
    if ways_out > 1:
        allowed = Changed() if way.is_eligible else _allowing_it(asking)
        change = replace(allowed, parsed=_not_excluding(asking))
        removed = [row if seen_counts and way.is_seen else row[:0]]
        yield Change("all", "without any of these", asking.outcomes_without(removed, change)[0])


def _eligible(asking: Asking, rules: Rules) -> Iterator[tuple[str, Changed]]:
    """What makes the item one that may be shown, each alone."""
    row = asking.question.row
    broken = rules.broken_by(row)
    if not broken:
        yield "were it in stock" if rules.conditions else "were it allowed by stock and rules", _allowing_it(asking)
    for condition in broken:
        if not condition.is_stock:
            yield f"without the rule {rule_words(condition)}", _without(asking, rules, condition)
            continue
        others = [c for c in broken if c is not condition]
        change = _allowing_it(asking) if not others else Changed()
        yield "were it in stock", change


def _without(asking: Asking, rules: Rules, condition: Condition) -> Changed:
    """A rule less, for all items."""
    nodes = asking.nodes
    sources = [nodes.source(place) for place in nodes.places.sources]
    rows, by_rules = rules.without(condition), rules.without(condition, in_stock=False)
    return Changed(files=allowing(nodes.folder, sources, rows, by_rules))


def _allowing_it(asking: Asking) -> Changed:
    """This item alone may be shown, whatever stock and rules say."""
    nodes, row = asking.nodes, np.array([asking.question.row])
    sources = [nodes.source(place) for place in nodes.places.sources]
    return Changed(files=allowing(nodes.folder, sources, row, row), in_stock=row)


def _not_excluding(asking: Asking) -> Parsed:
    parsed = asking.question.parsed
    return replace(parsed, exclude=removing(parsed.exclude, [np.array([asking.question.row])]))


def _with_more_candidates(asking: Asking, deep: Mapping[int, Standing | None]) -> Iterator[Change]:
    """The fewest candidates with which the item is one of them."""
    way, spec = asking.way, asking.nodes.spec
    ranks = [found.rank for found in deep.values() if found is not None]
    low, high = spec.num_candidates, min(spec.num_items, max(2 * spec.num_candidates, min(ranks, default=0)))
    while not found_with(way, high):
        if high == spec.num_items:
            return
        low, high = high, min(spec.num_items, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found_with(way, middle) else (middle, high)
    outcome = asking.outcome(Changed(spec=replace(spec, num_candidates=high)))
    yield Change("candidates", f"with chain.num_candidates = {high:,}", outcome, {"num_candidates": high})


def _with_a_longer_slate(asking: Asking, rank: int) -> Iterator[Change]:
    most = asking.nodes.spec.max_slate_size
    parsed = replace(asking.question.parsed, slate_size=np.array([rank], np.int32))
    outcome = asking.outcome(Changed(parsed=parsed))
    more = "" if rank <= most else f", which a request may ask for once chain.max_slate_size is more than {most:,}"
    yield Change("slate_size", f"with slate_size = {rank:,}{more}", outcome, {"slate_size": rank})


def rule_words(condition: Condition) -> str:
    """A rule without what is said of the items that meet it."""
    return condition.words.removeprefix("allowed by ")
