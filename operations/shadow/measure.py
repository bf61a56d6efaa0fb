"""How two lists of slates differ: overlap, rank-biased overlap, scores, paths, sizes, what is shown how often.

Rank-biased overlap weighs the first places most: Webber, Moffat and Zobel, "A similarity measure for indefinite
rankings", ACM TOIS 28(4), 2010, equation 30, cut at the shorter list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from operations.shadow.ask import Answered, Slate
from operations.shadow.timing import change_interval
from operations.signals.distance import jensen_shannon
from runtime.spec import PATHS, POPULARITY

__all__ = ["Change", "Shadow", "measure", "rank_biased_overlap", "text_of"]

PERSISTENCE = 0.9
CUTOFF = 10
NUM_BINS = 20
# Items that are listed.
NUM_SHOWN = 10


class Change(msgspec.Struct, frozen=True):
    """A number that may change.

    Attributes:
        before: of the logged answers.
        after: of the candidate's.
    """

    before: float
    after: float


class Shadow(msgspec.Struct, frozen=True):
    """The content of shadow.json.

    Attributes:
        candidate: the version that was asked.
        num_requests: that were asked again.
        num_slates: users who were answered by both.
        left_out: why -> requests that could not be asked again.
        num_errors: requests at which the candidate raised.
        errors: what it raised -> requests.
        overlap_at_k: mean share of the first k items that both have.
        k: of it, 10, or fewer where slates are shorter.
        rbo: mean rank-biased overlap, with a persistence of 0.9.
        score_js: Jensen-Shannon divergence of the scores in bits, 0 to 1; null where a side has none.
        paths: path -> share of the slates.
        empty: share of the slates without an item.
        short: share of the slates with fewer items than were asked for, without the empty ones.
        cpu_ms: processor time a user, of the version that answered and of the candidate; null where too few were timed.
        num_items: distinct items in all slates.
        items: the items whose exposure has changed most, raw id -> places in slates.
        categories: category -> places in slates; empty where no items table says which.
        cpu_low, cpu_high: 95% interval of the relative change of cpu_ms; null where too few were timed.
        format_version: of this file.
    """

    candidate: str
    num_requests: int
    num_slates: int
    left_out: dict[str, int]
    num_errors: int
    errors: dict[str, int]
    overlap_at_k: float
    k: int
    rbo: float
    score_js: float | None
    paths: dict[str, Change]
    empty: Change
    short: Change
    cpu_ms: Change | None
    num_items: Change
    items: dict[str, Change]
    categories: dict[str, Change]
    cpu_low: float | None = None
    cpu_high: float | None = None
    format_version: int = 1


def measure(asked: Answered, categories: Mapping[str, str]) -> Shadow:
    """Compare.

    Args:
        asked: what both answered.
        categories: raw item id as text -> its category.
    """
    sides = [before for before, _ in asked.pairs], [after for _, after in asked.pairs]
    shown = [_exposure(side) for side in sides]
    changed = sorted(set(shown[0]) | set(shown[1]), key=lambda item: (-abs(shown[1][item] - shown[0][item]), item))
    low, high = change_interval(asked.spent)
    k = min([CUTOFF, *(slate.wanted for slate in sides[0])])
    return Shadow(
        candidate=asked.candidate,
        num_requests=asked.requests,
        num_slates=len(asked.pairs),
        left_out=dict(asked.left_out),
        num_errors=len(asked.errors),
        errors=dict(Counter(asked.errors.values()).most_common(NUM_SHOWN)),
        overlap_at_k=_mean([_overlap(before.items[:k], after.items[:k]) for before, after in asked.pairs]),
        k=k,
        rbo=_mean([rank_biased_overlap(before.items, after.items) for before, after in asked.pairs]),
        score_js=_score_divergence(*sides),
        paths=_paths(*sides),
        empty=Change(*(_mean([not len(slate.items) for slate in side]) for side in sides)),
        short=Change(*(_mean([0 < len(slate.items) < slate.wanted for slate in side]) for side in sides)),
        cpu_ms=_cpu_ms(asked),
        num_items=Change(len(shown[0]), len(shown[1])),
        items={item: Change(shown[0][item], shown[1][item]) for item in changed[:NUM_SHOWN]},
        categories=_by_category(shown, categories),
        cpu_low=low,
        cpu_high=high,
    )


def _cpu_ms(asked: Answered) -> Change | None:
    users = sum(number for *_, number in asked.spent)
    return Change(*(1e3 * sum(pair[side] for pair in asked.spent) / users for side in (0, 1))) if users else None


def rank_biased_overlap(first: NDArray, second: NDArray) -> float:
    """0: nothing in common; 1: the same order. Two empty lists are the same."""
    depth = min(len(first), len(second))
    if not depth:
        return float(len(first) == len(second))
    common = np.zeros(depth)
    places = {item: place for place, item in enumerate(second[:depth].tolist())}
    for place, item in enumerate(first[:depth].tolist()):
        if item in places:
            common[max(place, places[item]) :] += 1
    weights = PERSISTENCE ** np.arange(1, depth + 1)
    agreed = common / np.arange(1, depth + 1)
    return float(agreed[-1] * weights[-1] + (1 - PERSISTENCE) / PERSISTENCE * (agreed @ weights))


def _overlap(first: NDArray, second: NDArray) -> float:
    longest = max(len(first), len(second))
    return len(np.intersect1d(first, second)) / longest if longest else 1.0


def _score_divergence(before: Sequence[Slate], after: Sequence[Slate]) -> float | None:
    """In bins that hold as many scores of before each; on the path popularity a score is no probability."""
    sides = [
        np.concatenate([np.zeros(0, np.float32), *(slate.scores for slate in side if slate.path != PATHS[POPULARITY])])
        for side in (before, after)
    ]
    if not all(len(side) for side in sides):
        return None
    edges = np.unique(np.quantile(sides[0], np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) + 0.5 for side in sides]
    return jensen_shannon(*(count / count.sum() for count in counts))


def _paths(before: Sequence[Slate], after: Sequence[Slate]) -> dict[str, Change]:
    counts = [Counter(slate.path for slate in side) for side in (before, after)]
    num = max(len(before), 1)
    return {path: Change(*(count[path] / num for count in counts)) for path in sorted(counts[0] | counts[1])}


def _exposure(side: Sequence[Slate]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for slate in side:
        counts.update(text_of(item) for item in slate.items.tolist())
    return counts


def text_of(item: int | bytes) -> str:
    """A raw id as text."""
    return item.decode() if isinstance(item, bytes) else str(item)


def _by_category(shown: Sequence[Counter[str]], categories: Mapping[str, str]) -> dict[str, Change]:
    if not categories:
        return {}
    found: list[Counter[str]] = []
    for side in shown:
        counts: Counter[str] = Counter()
        for item, count in side.items():
            counts[categories.get(item, "unknown")] += count
        found.append(counts)
    return {name: Change(found[0][name], found[1][name]) for name in sorted(found[0] | found[1])}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
