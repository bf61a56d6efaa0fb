"""The steps of a way in words and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from operations.why.answer import State, Step
from operations.why.asking import Asking
from operations.why.rules import Rules
from operations.why.way import ELIGIBILITY, EXCLUDED, INDEX, MERGE, SEEN, SHOWN, SLATE, SOURCES, Standing, Way
from runtime.index.allowed import are_set
from runtime.index.eligible import RULES_FILE
from runtime.ranker.sigmoid import sigmoid
from runtime.sources.base import real
from runtime.spec import LIVE_SEEN, PATHS
from runtime.step import load_array

__all__ = ["lost_at", "steps_of", "summary_of"]

FILTERS = (ELIGIBILITY, EXCLUDED, SEEN)
IN_WORDS = {
    "known_user": "a known user",
    "history": "an unknown user with recent items",
    "context": "an unknown user of whom the request's context is known",
    "popularity": "a user of whom nothing is known: the most popular items",
}


def lost_at(way: Way, deep: Mapping[int, Standing | None]) -> str:
    """Where the item is lost; INDEX where a source has it among its first C items and the index has missed it."""
    if way.lost_at != SOURCES:
        return way.lost_at
    count = way.nodes.spec.num_candidates
    dense = [found for place, found in deep.items() if not way.nodes.source(place).is_sparse]
    return INDEX if any(found is not None and found.rank <= count for found in dense) else SOURCES


def steps_of(asking: Asking, rules: Rules, lost: str, deep: Mapping[int, Standing | None]) -> list[Step]:
    """What each step made of the item, in the order of the chain."""
    way = asking.way
    steps = [
        Step("catalogue", "passed", f"item row {way.row:,} of {way.nodes.spec.num_items:,}", {"row": way.row}),
        _user(asking),
    ]
    if way.nodes.places.sources:
        steps += [_eligibility(way, rules), *_filters(way, asking)]
        steps += [_source(way, place, deep.get(place), lost) for place in way.nodes.places.sources]
    if way.nodes.places.merge is not None:
        steps.append(_merge(way, lost))
    steps += _scores(way, lost)
    return [*steps, _slate(way, lost)]


def summary_of(way: Way, lost: str, steps: list[Step]) -> str:
    """One sentence: shown or not, and the step that decided it."""
    if lost == SHOWN:
        slate = next(step for step in steps if step.name == SLATE)
        return f"shown: {slate.words}"
    decisive = [
        step.words if step.name == lost else f"{step.name}: {step.words}" for step in steps if step.state == "lost"
    ]
    return f"not shown, lost at {lost}: {'; '.join(decisive)}" if decisive else f"not shown, lost at {lost}"


def _user(asking: Asking) -> Step:
    way, path = asking.way, PATHS[asking.way.path]
    seen = next((len(user.seen) for user in way.queried.values()), 0)
    figures: dict[str, object] = {"path": path, "num_seen": seen}
    words = f"{IN_WORDS[path]}, {seen:,} seen items"
    if asking.live is not None:
        from_events = len(real(asking.live.recent[0])) - len(real(asking.question.parsed.recent[0]))
        figures |= {"num_recent_of_events": from_events}
        words += f", {from_events:,} of them new in live events"
    return Step("user", "to know", words, figures)


def _eligibility(way: Way, rules: Rules) -> Step:
    met = [condition.words for condition in rules.conditions if condition.holds[way.row]]
    if way.is_eligible:
        words = ", ".join(met) or ("stock and rules allow it" if rules.unknown else "nothing is asked of items")
        return Step(ELIGIBILITY, "passed", words, {"is_eligible": True})
    broken = rules.broken_by(way.row)
    words = ", ".join(
        f"not {condition.words}: its {condition.column} is {condition.value(way.row)}" for condition in broken
    )
    if _is_out_by_event(way):
        words = ", ".join([*filter(None, [words]), "out of stock, as a live event says"])
    figures = {"is_eligible": False, "broken": [condition.words for condition in broken]}
    return Step(ELIGIBILITY, "lost", words or f"stock or a rule forbids it ({rules.unknown})", figures)


def _is_out_by_event(way: Way) -> bool:
    """Whether the export would show the item, so that an event has taken it out of stock."""
    live = way.nodes.source(way.nodes.places.sources[0]).live
    if live is None or live.holds(np.array([way.row]))[0]:
        return False
    allowed = are_set(load_array(way.nodes.folder / RULES_FILE), np.array([way.row]))[0]
    return bool(allowed and are_set(load_array(way.nodes.folder / "eligible.npy"), np.array([way.row]))[0])


def _filters(way: Way, asking: Asking) -> Iterator[Step]:
    yield Step(
        "exclude_item_ids",
        "lost" if way.is_excluded else "passed",
        "the request excludes it, or it is blocked" if way.is_excluded else "not excluded",
        {"is_excluded": way.is_excluded},
    )
    counts = way.nodes.spec.filter_seen
    where = _where_seen(way, asking)
    words = "the user has not interacted with it"
    if way.is_seen:
        words = f"the user has interacted with it, as {' and '.join(where)} say" + ("" if len(where) > 1 else "s")
        words += "" if counts else "; chain.filter_seen = false, so that it is shown all the same"
    figures = {"is_seen": way.is_seen, "where": where, "filter_seen": counts}
    yield Step(SEEN, "lost" if way.is_seen and counts else "passed", words, figures)


def _where_seen(way: Way, asking: Asking) -> list[str]:
    """What says that the user has interacted with the item."""
    parsed, found = asking.question.parsed, []
    row = int(parsed.user_row[0])
    in_request = way.row in parsed.recent[0]
    if row >= 0 and way.row in asking.stored_seen:
        found.append("the export")
    of_events = way.row in real(way.arrays[LIVE_SEEN][way.user]) if LIVE_SEEN in way.arrays else False
    if asking.live is not None:
        counts = [int(np.count_nonzero(rows == way.row)) for rows in (asking.live.recent[0], parsed.recent[0])]
        of_events = of_events or counts[0] > counts[1]
    if of_events:
        found.append("a live event")
    if in_request:
        found.append("the request's recent_item_ids")
    return found


def _source(way: Way, place: int, deep: Standing | None, lost: str) -> Step:
    source, count = way.nodes.source(place), way.nodes.spec.num_candidates
    name, weight = source.name, ""
    if place not in way.queried:
        return Step(name, "not reached", "not queried for such a user")
    if way.is_blocked:
        return Step(name, "not reached", "never gives an item that a filter holds back")
    found, figures = way.found_by(place), {}
    stands = found if found is not None and (source.is_sparse or deep is None) else deep or found
    if stands is None:
        return Step(name, _sources_state(lost), f"does not have it{weight}")
    figures = {"rank": stands.rank, "score": stands.score, "count": stands.total, "is_found": found is not None}
    words = f"rank {stands.rank:,} of {stands.total:,}, score {stands.score:.4f}"
    if source.is_sparse and stands.score <= 0:
        return Step(name, _sources_state(lost), f"{words}; only scores above 0 go on", figures)
    if source.is_sparse and stands.rank > count:
        return Step(name, _sources_state(lost), f"{words}; the first {count:,} go on", figures)
    if found is not None:
        return Step(name, "passed", words, figures)
    if stands.rank <= count:
        return Step(name, _sources_state(lost), f"{words}; the index has missed it", figures)
    gap = ""
    if (last := _last_score(way, place)) is not None:
        figures |= {"last_score": last, "gap": last - stands.score}
        gap = f", {last - stands.score:.4f} below the last of them"
    return Step(name, _sources_state(lost), f"{words}; the first {count:,} go on{gap}", figures)


def _sources_state(lost: str) -> State:
    return "lost" if lost in (SOURCES, INDEX) else "to know"


def _last_score(way: Way, place: int) -> float | None:
    given = way.nodes.given(place, way.arrays)
    name = way.nodes.source(place).name
    rows = real(given[f"{name}_items"][way.user])
    return float(given[f"{name}_scores"][way.user, : len(rows)].min()) if len(rows) else None


def _merge(way: Way, lost: str) -> Step:
    count = way.nodes.spec.num_candidates
    if lost in FILTERS:
        return Step(MERGE, "not reached", "")
    if not way.is_ranked:
        words = "nothing is merged for such a user: the fallback's items are the candidates, in its order"
        return Step(MERGE, "lost" if lost == MERGE else "to know", words)
    merged, by_source = way.scored
    figures: dict[str, object] = {"merged_score": merged, "scores": by_source, "num_candidates": count}
    figures |= {"last_score": way.last_merged, "gap": way.last_merged - merged}
    stands = way.merged
    if stands is None:
        words = (
            f"no source brings it; its merged score would be {merged:.4f}, the last candidate has {way.last_merged:.4f}"
        )
        return Step(MERGE, "not reached", words, figures)
    figures |= {"rank": stands.rank, "count": stands.total, "by_quota": way.is_kept_by_quota}
    words = f"rank {stands.rank:,} of {stands.total:,}, score {merged:.4f}"
    if lost == MERGE:
        return Step(MERGE, "lost", f"{words}; {_gap(way.last_merged - merged)} the last candidate", figures)
    quota = "; a quota keeps it" if way.is_kept_by_quota and merged < way.last_merged else ""
    return Step(MERGE, "passed", f"{words}; {count:,} go on{quota}", figures)


def _scores(way: Way, lost: str) -> Iterator[Step]:
    """Where the item stands by each score that a step between the merge and the slate gives the candidates."""
    places, merge = way.nodes.places, way.nodes.places.merge
    if merge is None:
        return
    for place in range(merge + 1, len(way.nodes.plan)):
        node = way.nodes.plan[place]
        for name, array in node.gives.items():
            values = way.arrays[array]
            if (
                place == places.order
                or values.dtype != np.float32
                or values.shape[1:] != way.arrays["candidates"].shape[1:]
            ):
                continue
            stands = way.stood(place, name)
            if stands is None:
                yield Step(node.name, "lost" if lost == node.name else "not reached", "")
                continue
            words = f"rank {stands.rank:,} of {stands.total:,} by {name}, {stands.score:.4f}"
            figures = {"rank": stands.rank, "count": stands.total, name: stands.score, **_pairs(way, place)}
            yield Step(node.name, "lost" if lost == node.name else "passed", words, figures)


def _pairs(way: Way, place: int) -> dict[str, dict[str, float]]:
    """The pair features that the ranker saw of the item."""
    if place != way.nodes.places.rank:
        return {}
    batch = way.nodes.batch(place, way.arrays)
    column = int(np.flatnonzero(batch["candidates"][way.user] == way.row)[0])
    values = way.nodes.ranker().pairs(batch)[way.user, column].tolist()
    return {"pair_features": dict(zip(way.nodes.spec.ranker.pair_inputs, values, strict=True))}


def _slate(way: Way, lost: str) -> Step:
    answer, stands, size = way.nodes.answer(way.arrays), way.ordered, way.wanted
    drawn = "explored" in answer and bool(answer["explored"][way.user, 0])
    if way.place is not None:
        score = float(answer["score"][way.user, way.place - 1])
        words = f"place {way.place:,} of {int(answer['num_items'][way.user, 0]):,}, score {score:.4f}"
        figures: dict[str, object] = {"place": way.place, "score": score}
        if drawn:
            figures["propensity"] = math.exp(float(answer["log_propensity"][way.user, way.place - 1]))
            words += f"; drawn for it with probability {figures['propensity']:.4f}"
        return Step(SLATE, "passed", words, figures)
    if stands is None:
        return Step(SLATE, "lost" if lost == SLATE else "not reached", "not in the slate" if lost == SLATE else "")
    figures = {"rank": stands.rank, "slate_size": size, "last_score": stands.last, "gap": stands.last - stands.score}
    if drawn:
        words = f"rank {stands.rank:,} of {stands.total:,}; the slate was drawn at random, and the item was not drawn"
        return Step(SLATE, "lost" if lost == SLATE else "passed", words, {**figures, "explored": True})
    if way.nodes.spec.order is not None and way.nodes.spec.order.slates is not None:
        words = f"rank {stands.rank:,} by score; chain.order and its rules show {size:,} others"
        return Step(SLATE, "lost" if lost == SLATE else "passed", words, figures)
    words = f"rank {stands.rank:,}, the slate has {size:,}; {_gap(stands.last - stands.score)} the last one"
    if way.is_ranked:
        shown, own = (float(sigmoid(np.array([value], np.float32))[0]) for value in (stands.last, stands.score))
        words += f" (probability {own:.4f} beside {shown:.4f})"
    return Step(SLATE, "lost" if lost == SLATE else "passed", words, figures)


def _gap(value: float) -> str:
    return f"{value:.4f} below" if value > 0 else "as high as, with a larger item row than,"
