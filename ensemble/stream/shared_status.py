"""`cascade stream status` where events come over a topic: how far its partitions are, and what the state holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from ensemble.stream.shared import Shared, one_sentence, open_store
from ensemble.stream.topic_reader import TopicReader
from runtime.stream.folder import rejected_file
from runtime.stream.redis_url import read_url
from runtime.stream.store import ITEM, USER
from workflows.core import console

__all__ = ["shared_lines"]

SECOND_NS = 1_000_000_000


def shared_lines(shared: Shared) -> Iterator[tuple[str, str]]:
    """Names and values to print.

    Raises:
        ServingError: the topic or the state cannot be used.
    """
    yield "topic", shared.topic.shown
    with one_sentence(), closing(TopicReader(shared.topic)) as topic:
        bounds = topic.bounds()
        yield "messages it has", f"{sum(high - low for low, high in bounds):,} in {len(bounds)} partitions"
        url = read_url(shared.store)
        yield "state", f"{url.shown}, prefix {url.prefix}, version {shared.spec.state_version}"
        yield from _state(shared, bounds)
    refused = rejected_file(shared.folder)
    yield "refused events kept here", f"{refused.read_bytes().count(bytes([10])) if refused.is_file() else 0:,}"


def _state(shared: Shared, bounds: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    with open_store(shared) as store, store.read() as reading:
        positions, made_of = getattr(reading.position, "parts", ()), reading.topic
        is_same = made_of == shared.topic.topic and len(positions) == len(bounds)
        if not is_same:
            yield "of another topic", f"{made_of} with {len(positions)} partitions; give another prefix (?prefix=...)"
        else:
            behind = [max(high - position, 0) for (_, high), position in zip(bounds, positions, strict=True)]
            yield "events in the state", f"{sum(positions):,}; {sum(behind):,} messages are not in it yet"
            for number, left in enumerate(behind):
                if left:
                    yield f"partition {number}", f"at {positions[number]:,} of {bounds[number][1]:,}"
        yield "up to date as of", _age(reading.fresh_at)
        if num := sum(len(store.set_aside_offsets(number)) for number in range(len(positions))):
            yield "events set aside", f"{num:,}, which could not be folded into the state and count nowhere"
        found = Counter(key[:1] for key in reading.every_key())
        yield "holds", f"{found[USER]:,} users, {found[ITEM]:,} items"


def _age(fresh_at: int) -> str:
    if fresh_at <= 0:
        return "not known; no worker has said so yet"
    age_s = max(time.time_ns() - fresh_at, 0) / SECOND_NS
    return f"{console.duration(age_s)} ago; above max_staleness_s stream features are not known"
