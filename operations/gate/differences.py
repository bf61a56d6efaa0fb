"""What tells an export that went wrong from an honest retraining: rows of the gate, each with two limits.

A value is a share of what was the same in the served version and is not in the candidate. Up to the first limit it is
what retrainings differ by; beyond it the candidate differs, which holds it back; beyond the second it is broken. Both
limits are from exports that were broken on purpose and from honest twins: `python -m benchmarks faults`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import Histogram
from ensemble.profile.make import HISTORY_LENGTH
from ensemble.profile.profile import NO_EVENTS, NUM_DECILES, Profile
from operations.gate.elsewhere import elsewhere, nulls_more, of_shares
from operations.gate.exported import Exported
from operations.gate.same_questions import BothAnswers
from runtime.ids import NO_ITEM
from runtime.spec import PATHS, POPULARITY
from workflows.features.schema import input_name

__all__ = ["Difference", "Limits", "differences"]

# Items of a part of the catalogue that are enough to speak of it.
LEAST_ITEMS = 30
FIRST = 10


class Limits(NamedTuple):
    """Of a share that is not as it was.

    Attributes:
        differs: from which on an honest retraining does not differ.
        broken: from which on it is no change that anybody makes without saying so; infinite: none.
    """

    differs: float
    broken: float


KNOWN, ELIGIBLE, AGAIN = Limits(0.05, 0.3), Limits(0.15, 0.35), Limits(0.5, 0.9)
COLUMN, NULLS, FEATURE, ITEMS = Limits(0.15, np.inf), Limits(0.1, 0.5), Limits(0.15, 0.25), Limits(0.15, 0.3)
SCORES, BAD, PATH, SHORT = Limits(0.3, 0.8), Limits(0.0, 0.0), Limits(0.1, 0.5), Limits(0.005, 0.05)
REPORT, SEEN, SHOWN, DISTINCT = Limits(0.9, np.inf), Limits(0.001, 0.01), Limits(0.15, 0.4), Limits(0.3, 0.6)
# Histories grow: three weeks of the shop move a tenth of them.
HISTORY = Limits(0.25, 0.6)
ORDER, POPULAR, SAME, GONE = Limits(0.3, 0.7), Limits(0.7, np.inf), Limits(0.95, np.inf), Limits(0.0, np.inf)


INDEX = {"vectors": Limits(0.0, 0.01), "index": Limits(0.05, 0.3)}
WORDS = {
    "vectors": "items whose vectors are not those of the training",
    "index": "of what an exact search finds, that the index does not",
}
DAY_NS = 86_400 * 10**9


class Difference(NamedTuple):
    """One thing that both versions say.

    Attributes:
        family: of `operations.signals.kinds.FAMILIES`, where the cause should be sought.
        name: "kind:of what", which gate.expected may name.
        words: of the value.
        value: what has changed, as a share.
        limits: of it.
    """

    family: str
    name: str
    words: str
    value: float
    limits: Limits


def differences(
    ours: Exported, theirs: Exported, asked: BothAnswers | None, index: Mapping[str, float] = {}
) -> Iterator[Difference]:
    """Compare, the cause first: data, what requests become, what is answered, what is shown.

    Args:
        ours: the candidate.
        theirs: the served version.
        asked: what both answered; None: nothing.
        index: "vectors" and "index": what the candidate's search has lost of what its run made, as shares.
    """
    yield from _clock(ours, theirs)
    if ours.profile is not None and theirs.profile is not None:
        yield from _columns(ours.profile, theirs.profile)
        yield from _features(ours, theirs.profile)
        yield from _items(ours.profile, theirs.profile)
    yield from _sources(ours, theirs)
    for name, lost in index.items():
        yield Difference("predictions", name, WORDS[name], lost, INDEX[name])
    if asked is not None:
        yield from _answers(asked)
    yield from _catalogue(ours, theirs)
    if asked is not None:
        yield from _shown(ours, theirs, asked)


def _clock(ours: Exported, theirs: Exported) -> Iterator[Difference]:
    """Timestamps in another unit are seldom of the years that one lives in."""
    if ours.profile is not None and theirs.profile is not None:
        ahead = [e.profile.info.newest_event > e.made_at + DAY_NS for e in (ours, theirs) if e.profile is not None]
        is_new = float(ahead[0] and not ahead[1])
        yield Difference("requests", "clock", "whether events are later than the export, 1: yes", is_new, BAD)


def _columns(ours: Profile, theirs: Profile) -> Iterator[Difference]:
    for name in sorted(theirs.columns.keys() & ours.columns.keys()):
        moved = elsewhere(theirs.columns[name], ours.columns[name])
        yield Difference("requests", f"column:{name}", f"events whose '{name}' is another one", moved, COLUMN)
        more = max(0.0, nulls_more(theirs.columns[name], ours.columns[name]))
        yield Difference("requests", f"null:{name}", f"events that have lost '{name}'", more, NULLS)
    for name in sorted(theirs.columns.keys() - ours.columns.keys()):
        yield Difference("requests", f"column:{name}", f"the context column '{name}' is gone", 1.0, GONE)


def _features(ours: Exported, theirs: Profile) -> Iterator[Difference]:
    """What the column itself has moved is no fault of the feature's."""
    assert ours.profile is not None
    mine = ours.profile.features
    for name in sorted(theirs.features):
        if name not in mine:
            yield Difference("features", f"feature:{name}", f"the feature {name} is gone", 1.0, GONE)
            continue
        column = _column_of(name, theirs.columns)
        moved = elsewhere(theirs.features[name], mine[name])
        if column is not None and column in ours.profile.columns:
            moved = max(0.0, moved - elsewhere(theirs.columns[column], ours.profile.columns[column]))
        limits = HISTORY if name == HISTORY_LENGTH else FEATURE
        yield Difference("features", f"feature:{name}", f"requests whose {name} is another one", moved, limits)


def _column_of(feature: str, columns: Mapping[str, Histogram]) -> str | None:
    """The raw context column that a feature is made of, by its name."""
    _, number, *_ = *feature.split("_"), ""
    named = (name for name in columns if number.isdigit() and feature == input_name("context", int(number), name))
    return next(named, feature if feature in columns else None)


def _items(ours: Profile, theirs: Profile) -> Iterator[Difference]:
    for name in sorted(theirs.items.keys() & ours.items.keys()):
        moved = elsewhere(theirs.items[name], ours.items[name])
        yield Difference("features", f"items:{name}", f"items whose {name} is another one", moved, ITEMS)


def _sources(ours: Exported, theirs: Exported) -> Iterator[Difference]:
    gone = {source.name for source in theirs.spec.sources} - {source.name for source in ours.spec.sources}
    for name in sorted(gone):
        yield Difference("predictions", f"source:{name}", f"the source '{name}' has no place any more", 1.0, GONE)


def _answers(asked: BothAnswers) -> Iterator[Difference]:
    if isinstance(asked.served, str):
        return
    sides = asked.served, asked.candidate
    paths = [np.array([(a.paths == path).mean() for path in PATHS]) for a in sides]
    num = float(len(asked.part))
    moved = of_shares(paths[0], paths[1], (num, num))
    yield Difference("predictions", "paths", "users whose slate rests on something else", moved, PATH)
    given = [a.scores[(a.rows != NO_ITEM) & (a.paths != PATHS[POPULARITY])[:, None]] for a in sides]
    bad = [float((~((s >= 0) & (s <= 1))).mean()) if len(s) else 0.0 for s in given]
    if not bad[0]:
        yield Difference("predictions", "bad_scores", "scores that are no number from 0 to 1", bad[1], BAD)
        if all(len(s) and s.mean() > 0 for s in given) and not bad[1]:
            ratio = float(given[1].mean() / given[0].mean())
            yield Difference("predictions", "scores", "relative change of the mean score", _change(ratio), SCORES)
    short = [float(((a.rows != NO_ITEM).sum(axis=1) < asked.size).mean()) for a in sides]
    more = max(0.0, short[1] - short[0])
    yield Difference("predictions", "short", "users whose slate is empty or short now", more, SHORT)


def _change(ratio: float) -> float:
    """The same for twice as much and half as much."""
    return max(ratio, 1 / ratio) - 1


def _catalogue(ours: Exported, theirs: Exported) -> Iterator[Difference]:
    for words, mine, other in (("users", ours.user_ids, theirs.user_ids), ("items", ours.item_ids, theirs.item_ids)):
        lost = 1 - float(np.isin(other, mine).mean())
        yield Difference("exposure", f"known:{words}", f"{words} that the candidate does not know", lost, KNOWN)
    yield from _popularity(ours, theirs)
    if ours.eligible is None or theirs.eligible is None:
        return
    now = _by_id(theirs.item_ids, ours.item_ids, ours.eligible)
    for name, part in _parts(theirs):
        of_part = theirs.eligible & part
        if of_part.sum() >= LEAST_ITEMS:
            lost = 1 - float(now[of_part].mean())
            words = f"{name} that the candidate may not show any more"
            yield Difference("exposure", f"eligible:{name}", words, lost, ELIGIBLE)
    withheld = ~theirs.eligible & np.isin(theirs.item_ids, ours.item_ids)
    if withheld.sum() >= LEAST_ITEMS:
        again = float(now[withheld].mean())
        yield Difference("exposure", "withheld", "items that were withheld and may be shown now", again, AGAIN)


def _popularity(ours: Exported, theirs: Exported) -> Iterator[Difference]:
    """The same items are popular, unless the ids belong to other items."""
    if not (_has_deciles(ours) and _has_deciles(theirs)):
        return
    assert ours.profile is not None and theirs.profile is not None
    common, mine, other = np.intersect1d(ours.item_ids, theirs.item_ids, assume_unique=True, return_indices=True)
    deciles = ours.profile.item_decile[mine].astype(float), theirs.profile.item_decile[other].astype(float)
    if len(common) >= LEAST_ITEMS and all(len(np.unique(decile)) > 1 for decile in deciles):
        unlike = 1 - max(0.0, float(np.corrcoef(*deciles)[0, 1]))
        yield Difference("exposure", "ids", "1 - correlation of how popular the same ids are", unlike, ORDER)
    popular = [e.item_ids[e.profile.popular] for e in (ours, theirs) if e.profile is not None]
    if all(len(ids) for ids in popular):
        lost = 1 - float(np.isin(popular[1], popular[0]).mean())
        yield Difference("exposure", "popular", "of what an unknown user gets, that is gone", lost, POPULAR)


def _has_deciles(exported: Exported) -> bool:
    return exported.profile is not None and len(exported.profile.item_decile) == len(exported.item_ids)


def _parts(exported: Exported) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield "items", np.ones(len(exported.item_ids), bool)
    if exported.profile is not None and _has_deciles(exported):
        decile = exported.profile.item_decile
        yield "popular items", decile < NUM_DECILES // 2
        yield "unpopular items", (decile >= NUM_DECILES // 2) & (decile != NO_EVENTS)
        yield "items without an event", decile == NO_EVENTS


def _by_id(wanted: NDArray, ids: NDArray, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """For each wanted id its value; false where it is not among the ids."""
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: NDArray[np.bool_] = (ids[at] == wanted) & values[at]
    return found


def _shown(ours: Exported, theirs: Exported, asked: BothAnswers) -> Iterator[Difference]:
    overlap = _overlap(asked.candidate.rows[:, :FIRST], asked.reported[:, :FIRST])
    yield Difference(
        "exposure", "reported", "of the slates that were evaluated, not in the export's", 1 - overlap, REPORT
    )
    if theirs.spec.filter_seen:
        shown = asked.candidate.rows != NO_ITEM
        share = float(asked.seen[shown].mean()) if shown.any() else 0.0
        yield Difference("exposure", "seen", "shown items that their user has had", share, SEEN)
    if isinstance(asked.served, str):
        return
    sides = asked.served.rows, asked.candidate.rows
    overlap = _overlap(*(rows[:, :FIRST] for rows in sides))
    yield Difference("exposure", "answers", "of the served version's slates, not in the export's", 1 - overlap, SAME)
    distinct = [len(np.unique(rows[rows >= 0])) for rows in sides]
    lost = max(0.0, 1 - distinct[1] / max(distinct[0], 1))
    yield Difference("exposure", "distinct", "distinct items that are shown, share that is lost", lost, DISTINCT)
    if ours.profile is None or not _has_deciles(ours):
        return
    places = [_deciles(rows, ours.profile) for rows in sides]
    num = float(len(asked.part))
    if all(place.sum() for place in places):
        served, candidate = (place / place.sum() for place in places)
        moved = of_shares(served, candidate, (num, num))
        yield Difference("exposure", "popularity", "places that went to more or less popular items", moved, SHOWN)


def _overlap(rows: NDArray, others: NDArray) -> float:
    """Of the items of both lists, those that both hold; the mean over the users."""
    common = [len(np.intersect1d(a[a >= 0], b[b >= 0])) for a, b in zip(rows, others, strict=True)]
    longest = np.maximum((rows != NO_ITEM).sum(axis=1), (others != NO_ITEM).sum(axis=1))
    return float((np.array(common) / np.maximum(longest, 1)).mean()) if len(rows) else 1.0


def _deciles(rows: NDArray[np.int32], profile: Profile) -> NDArray[np.float64]:
    return np.bincount(profile.item_decile[rows[rows >= 0]], minlength=NO_EVENTS + 1).astype(np.float64)
