"""`cascade stream status` where events come over a topic: how far its partitions are, and what the state holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import msgspec

from ensemble.stream.shared import Shared, one_sentence, open_store
from ensemble.stream.topic_reader import TopicReader
from runtime.stream.folder import rejected_file
from runtime.stream.redis_url import read_url
from runtime.stream.store import ITEM, USER
from workflows.core import console

__all__ = ["SharedStatus", "shared_lines", "shared_status"]

SECOND_NS = 1_000_000_000


class SharedStatus(msgspec.Struct, frozen=True):
    """What `cascade stream status --json` prints of a topic and its state.

    Attributes:
        topic: its address, without a password.
        num_messages: that it has.
        ends: of each partition, the offset after its last message.
        store: address of the state, without a password.
        prefix: of its keys.
        state_version: of them.
        state_topic: that the state was made of; another one than `topic` where `is_same` is false.
        is_same: whether the state was made of this topic and its partitions.
        positions: of each partition of `state_topic`, how far the state is.
        num_behind: of each partition, messages that are not in the state yet; empty where it is of another topic.
        fresh_age_s: seconds since the state was up to date; null where no worker has said so yet.
        num_users, num_items: that the state holds.
        num_refused: refused events that are kept here.
        num_set_aside: events that could not be folded into the state.
    """

    topic: str
    num_messages: int
    ends: list[int]
    store: str
    prefix: str
    state_version: str
    state_topic: str
    is_same: bool
    positions: list[int]
    num_behind: list[int]
    fresh_age_s: float | None
    num_users: int
    num_items: int
    num_refused: int
    num_set_aside: int


def shared_status(shared: Shared) -> SharedStatus:
    """How far a topic and its state are.

    Raises:
        ServingError: the topic or the state cannot be used.
    """
    with one_sentence(), closing(TopicReader(shared.topic)) as topic:
        bounds, url = topic.bounds(), read_url(shared.store)
        ends = [high for _, high in bounds]
        with open_store(shared) as store, store.read() as reading:
            positions = list(getattr(reading.position, "parts", ()))
            is_same = reading.topic == shared.topic.topic and len(positions) == len(bounds)
            found = Counter(key[:1] for key in reading.every_key())
            return SharedStatus(
                topic=shared.topic.shown,
                num_messages=sum(high - low for low, high in bounds),
                ends=ends,
                store=url.shown,
                prefix=url.prefix,
                state_version=shared.spec.state_version,
                state_topic=reading.topic,
                is_same=is_same,
                positions=positions,
                num_behind=[max(end - position, 0) for end, position in zip(ends, positions, strict=True)]
                if is_same
                else [],
                fresh_age_s=_age_s(reading.fresh_at),
                num_users=found[USER],
                num_items=found[ITEM],
                num_refused=_num_refused(shared),
                num_set_aside=sum(len(store.set_aside_offsets(number)) for number in range(len(positions))),
            )


def shared_lines(found: SharedStatus) -> Iterator[tuple[str, str]]:
    """Names and values to print."""
    yield "topic", found.topic
    yield "messages it has", f"{found.num_messages:,} in {len(found.ends)} partitions"
    yield "state", f"{found.store}, prefix {found.prefix}, version {found.state_version}"
    if not found.is_same:
        other = f"{found.state_topic} with {len(found.positions)} partitions"
        yield "of another topic", f"{other}; give another prefix (?prefix=...)"
    else:
        late = f"{sum(found.num_behind):,} messages are not in it yet"
        yield "events in the state", f"{sum(found.positions):,}; {late}"
        for number, left in enumerate(found.num_behind):
            if left:
                yield f"partition {number}", f"at {found.positions[number]:,} of {found.ends[number]:,}"
    yield "up to date as of", _age(found.fresh_age_s)
    if num := found.num_set_aside:
        yield "events set aside", f"{num:,}, which could not be folded into the state and count nowhere"
    yield "holds", f"{found.num_users:,} users, {found.num_items:,} items"
    yield "refused events kept here", f"{found.num_refused:,}"


def _num_refused(shared: Shared) -> int:
    refused = rejected_file(shared.folder)
    return refused.read_bytes().count(b"\n") if refused.is_file() else 0


def _age_s(fresh_at: int) -> float | None:
    return max(time.time_ns() - fresh_at, 0) / SECOND_NS if fresh_at > 0 else None


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "not known; no worker has said so yet"
    return f"{console.duration(age_s)} ago; above max_staleness_s stream features are not known"
