"""`cascade stream forget` and `backfill` where events come over a topic: both write to it, as `cascade_events` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
from numpy.typing import NDArray

from ensemble.stream.shared import Shared, one_sentence, open_store
from ensemble.stream.topic_reader import TopicReader
from runtime.stream.events import Events
from runtime.stream.keys import user_keys
from runtime.stream.record import unpack, user_record
from runtime.stream.redis import RedisStore
from runtime.stream.store import USER
from runtime.stream.topic_writer import TopicWriter
from workflows.core import console
from workflows.core.errors import ArtefactError, ServingError

__all__ = ["backfilling", "forget_shared"]

WAIT_S, LOOK_S = 30.0, 0.1


def forget_shared(shared: Shared, order: Events) -> None:
    """Send the order to forget a user, and wait until a worker has carried it out.

    Args:
        shared: the product.
        order: one event of the kind FORGET.

    Raises:
        ServingError: the topic did not take the order, or no worker has carried it out within half a minute.
    """
    (user,) = order.user.tolist()
    name = user.decode() if isinstance(user, bytes) else str(user)
    with one_sentence(), open_store(shared) as store, closing(TopicWriter(shared.topic, shared.spec)) as writer:
        before = _record(store, shared, order)
        writer.accept(order, time.time_ns())
        until = time.monotonic() + WAIT_S
        while not _is_forgotten(before, _record(store, shared, order)):
            if time.monotonic() > until:
                raise ServingError(
                    f"the order to forget user {name} is in {shared.topic.shown}, and no worker has carried it out "
                    f"within {WAIT_S:.0f} s; it holds once `cascade stream run` reads it (see `stream status`), "
                    "if the user's messages are in the same partition: ?partitioner=... in the source must be that "
                    "of all producers"
                )
            time.sleep(LOOK_S)
    console.say(
        f"stream forget: user {name} is forgotten in the state; its messages stay in {shared.topic.shown} until they "
        "are too old (retention.ms), and lines of workers' rejected.ndjson and tables of runs are yours to remove"
    )


def _record(store: RedisStore, shared: Shared, order: Events) -> NDArray:
    """What the state has of the user now."""
    (key,) = user_keys(order.user)
    with store.read() as reading:
        (record,) = unpack(reading.get([USER + key]), user_record(shared.spec))
    return np.asarray(record)


def _is_forgotten(before: NDArray, now: NDArray) -> bool:
    """Whether nothing is left, but for what the user did in the meantime."""
    is_other = now["first_at"] != before["first_at"] or now["num_events"] < before["num_events"]
    return bool(now["next_offset"] != before["next_offset"] and (now["num_events"] == 0 or is_other))


@contextmanager
def backfilling(shared: Shared) -> Iterator[TopicWriter]:
    """What takes in events for a topic that has none yet.

    Raises:
        ArtefactError: it has some.
        ServingError: it cannot be used.
    """
    with one_sentence():
        with closing(TopicReader(shared.topic)) as topic:
            known = sum(high for _, high in topic.bounds())
        if known:
            raise ArtefactError(
                f"{shared.topic.shown} has had {known:,} messages already, and those of the tables would come after "
                "them; give an empty topic with --source, and another prefix with --store"
            )
        with closing(TopicWriter(shared.topic, shared.spec)) as writer:
            yield writer
