"""Rows of the gate on logged requests that were asked again of the candidate."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ensemble.evaluation.gate_config import GateConfig
from operations.gate.rows import Row
from operations.shadow.measure import Change, Shadow

__all__ = ["no_requests", "request_rows"]

ASKED = "requests asked again"
# Places in slates; of fewer, half may be lost by chance.
LEAST_PLACES = 200


def no_requests(why: str, limits: GateConfig) -> Row:
    """Where none can be asked again."""
    return Row(ASKED, 0, limits.min_requests, None, why)


def request_rows(found: Shadow, limits: GateConfig) -> Iterator[Row]:
    """One row a limit; of too few requests none is broken but that the candidate raises."""
    number = found.num_requests
    few = None if number >= limits.min_requests else f"the log holds {number:,} requests that can be asked again"
    yield Row(ASKED, number, limits.min_requests, None if few else True, few)
    share = found.num_errors / max(number, 1)
    yield Row("share of the requests at which the candidate raises", share, 0.0, share == 0)
    for row in _changes(found, limits):
        yield msgspec.structs.replace(row, met=None, missing=few) if few and row.met is False else row


def _changes(found: Shadow, limits: GateConfig) -> Iterator[Row]:
    more = found.empty.after + found.short.after - found.empty.before - found.short.before
    yield Row("empty and short slates, change of their share", more, limits.max_short, more <= limits.max_short)
    name = "processor time a user, relative change"
    if found.cpu_ms is None or not found.cpu_ms.before:
        yield Row(name, None, limits.max_cpu, None, "too few requests to time")
    else:
        slower = found.cpu_ms.after / found.cpu_ms.before - 1
        is_chance = slower > limits.max_cpu and (found.cpu_low is None or found.cpu_low <= limits.max_cpu)
        missing = "the machine did other things too, and too few requests were timed to tell it from chance"
        met = None if is_chance else slower <= limits.max_cpu
        yield Row(name, slower, limits.max_cpu, met, missing if is_chance else None, found.cpu_low, found.cpu_high)
    kept = _kept(found.num_items)
    yield Row("distinct items shown, share that is left", kept, limits.min_coverage, kept >= limits.min_coverage)
    yield from _categories(found, limits)


def _categories(found: Shadow, limits: GateConfig) -> Iterator[Row]:
    """The category that keeps least, and every other one that loses too much."""
    counted = {
        name: _kept(change)
        for name, change in found.categories.items()
        if change.before >= LEAST_PLACES and name not in limits.expected
    }
    for place, name in enumerate(sorted(counted, key=counted.__getitem__)):
        holds = counted[name] >= limits.min_exposure
        if place == 0 or not holds:
            yield Row(f"places of category {name}, share that is left", counted[name], limits.min_exposure, holds)


def _kept(change: Change) -> float:
    return change.after / change.before if change.before else 1.0
