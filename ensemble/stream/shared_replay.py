"""`cascade stream replay` where events come over a topic: its messages folded once more, against the state on Redis."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

from ensemble.stream.shared import Shared, one_sentence, open_store
from ensemble.stream.topic_batches import NEW_PREFIX, TopicBatches
from runtime.stream.events import Events
from runtime.stream.poison import fold
from runtime.stream.record import unpack, user_record
from runtime.stream.redis import AT_ONCE, RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.spec import StreamSpec
from runtime.stream.store import ITEM, SEEN, USER, LmdbStore, Reading
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = ["WHOSE", "may_be_gone", "raw_id", "replay_shared"]

WHOSE = {USER: "user", SEEN: "the seen items of user", ITEM: "item"}
# How often what workers have changed meanwhile is looked at again, and how long they get for it.
ROUNDS, WAIT_S = 10, 0.5


def replay_shared(shared: Shared, *, check: bool) -> None:
    """Fold a topic from its beginning, into a state that is thrown away.

    Args:
        shared: the product.
        check: compare with the live state; workers may go on meanwhile.

    Raises:
        ArtefactError: the topic no longer has all that the state knows, or a record differs.
        ServingError: the topic or the state cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(one_sentence())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cascade-replay-")))
        topic = stack.enter_context(closing(TopicBatches(shared)))
        fresh = _Fresh(topic, shared.spec, scratch, stack)
        if not check:
            fresh.fold([high for _, high in topic.bounds])
            if fresh.num_set_aside:
                console.say(f"stream replay: {fresh.num_set_aside:,} events cannot be folded, and were left out")
            return
        store = stack.enter_context(open_store(shared))
        topic.check_whole(store)
        _check(store, fresh, shared.spec)


class _Fresh:
    """A state of each partition, made here.

    Attributes:
        stores: by partition.
        positions: how far each is.
        num_set_aside: events that could not be folded.
    """

    def __init__(self, topic: TopicBatches, spec: StreamSpec, scratch: Path, stack: ExitStack) -> None:
        self._topic, self._spec = topic, spec
        self.stores = [LmdbStore(scratch / str(part), writable=True) for part in range(topic.num_partitions)]
        for store in self.stores:
            stack.callback(store.close)
        self.positions = [low for low, _ in topic.bounds]
        self.num_set_aside = 0

    def fold(self, positions: Sequence[int], state: RedisStore | None = None) -> None:
        """Go on up to these, without what a state has been made without."""
        started_at, started_cpu, num_events = time.perf_counter(), time.process_time(), 0
        for partition, (store, stop) in enumerate(zip(self.stores, positions, strict=True)):
            for batch in self._topic.batches(partition, self.positions[partition], stop, state):
                fold(store, self._spec, batch.events, batch.offsets, batch.next_offset, self._set_aside)
                num_events += len(batch.offsets)
            self.positions[partition] = max(stop, self.positions[partition])
        took, cpu = time.perf_counter() - started_at, time.process_time() - started_cpu
        if num_events:
            console.say(
                f"stream replay: folded {num_events:,} events in {console.duration(took)}, "
                f"{num_events / max(cpu, 1e-9):,.0f} a CPU-second"
            )

    def _set_aside(self, event: Events, offset: int, why: str) -> None:
        """An event that cannot be folded is left out here, as by a worker."""
        self.num_set_aside += 1


def _check(store: RedisStore, fresh: _Fresh, spec: StreamSpec) -> None:
    with store.read() as reading:
        live = {key for key in reading.every_key() if key[:1] != SEEN}
    num_records, left = 0, _All(spec)
    for round_ in range(ROUNDS):
        time.sleep(WAIT_S if round_ else 0)
        before = list(fresh.positions)
        with store.read() as reading:
            fresh.fold(getattr(reading.position, "parts", ()), store)
        if round_ > 1 and before == fresh.positions:
            break
        if not round_:
            left.know(fresh)
        num_records += left.compare(store, fresh)
        live -= left.known(fresh, live)
        if not left.pending and not live:
            break
    if unknown := sorted(live):
        with store.read() as reading:
            values = reading.get(unknown)
        for key, value in zip(unknown, values, strict=True):
            if _next_offset(value) <= min(fresh.positions):
                raise ArtefactError(
                    f"the live state has {WHOSE[key[:1]]} {raw_id(key, spec)}, whom no message of the topic names; "
                    f"{NEW_PREFIX}"
                )
    if left.num_gone:
        console.say(f"stream replay: {left.num_gone:,} users were removed for having done nothing, and are left out")
    num_ahead = len(left.pending) + len(live)
    ahead = f"; {num_ahead:,} that workers were changing meanwhile are left out" if num_ahead else ""
    console.say(
        f"stream replay: all {num_records:,} records of the live state are those of the topic, to the byte{ahead}"
    )


class _All:
    """The records of the topic that are still to be found in the live state.

    Attributes:
        pending: partitions and keys.
        num_gone: users who were removed for having done nothing.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self.pending: list[tuple[int, bytes]] = []
        self.num_gone = 0

    def know(self, fresh: _Fresh) -> None:
        """All of them.

        Raises:
            ArtefactError: a user has events in two partitions.
        """
        home: dict[bytes, int] = {}
        for partition, store in enumerate(fresh.stores):
            with store.read() as reading:
                for key, _ in (*reading.scan(USER), *reading.scan(ITEM)):
                    if key[:1] == USER and home.setdefault(key, partition) != partition:
                        raise ArtefactError(
                            f"user {raw_id(key, self._spec)} has events in the partitions {home[key]} and {partition}, "
                            "of which the state keeps those of one: let all producers spread keys in the same way "
                            "(?partitioner=... in the source), and fill a new state"
                        )
                    self.pending.append((partition, key))

    def known(self, fresh: _Fresh, keys: set[bytes]) -> set[bytes]:
        """Which of some keys the topic names."""
        found, ordered = set[bytes](), sorted(keys)
        for store in fresh.stores:
            with store.read() as reading:
                values = reading.get(ordered)
            found.update(key for key, value in zip(ordered, values, strict=True) if value is not None)
        return found

    def compare(self, store: RedisStore, fresh: _Fresh) -> int:
        """How many records are right; those that workers have changed meanwhile are pending still.

        Raises:
            ArtefactError: one differs.
        """
        waiting, self.pending, num_right = self.pending, [], 0
        for partition, local in enumerate(fresh.stores):
            own = iter([key for number, key in waiting if number == partition])
            with local.read() as right, RedisPartition(store, partition).read() as live:
                while part := list(islice(own, AT_ONCE // 2)):
                    for key, values, expected in _pairs(part, live, right):
                        if values == expected:
                            num_right += sum(value is not None for value in expected)
                        elif may_be_gone(key, right, live.expired_at, self._spec):
                            self.num_gone += 1
                        elif _next_offset(values[0]) > fresh.positions[partition]:
                            self.pending.append((partition, key))
                        else:
                            raise ArtefactError(
                                "the live state is not what the topic makes: they differ first in "
                                f"{WHOSE[key[:1]]} {raw_id(key, self._spec)}; {NEW_PREFIX}"
                            )
        return num_right


def _pairs(keys: list[bytes], live: Reading, right: Reading) -> Iterator[tuple[bytes, list, list]]:
    """Each key with what both states have of it: of a user, its record and its seen items, read at one instant."""
    both = [each for key in keys for each in ((key, SEEN + key[1:]) if key[:1] == USER else (key,))]
    found = [dict(zip(both, reading.get(both), strict=True)) for reading in (live, right)]
    for key in keys:
        own = (key, SEEN + key[1:]) if key[:1] == USER else (key,)
        yield key, [found[0][each] for each in own], [found[1][each] for each in own]


def _next_offset(record: bytes | None) -> int:
    """What a record begins with."""
    return int.from_bytes((record or b"")[:8], "little")


def may_be_gone(key: bytes, fresh: Reading, expired_at: int, spec: StreamSpec) -> bool:
    """Whether a user, or what it has seen, may have been removed once, since it had done nothing for long.

    Args:
        key: of either.
        fresh: a state from which nobody was removed.
        expired_at: of the live state.
        spec: of both.
    """
    if not expired_at or key[:1] == ITEM:
        return False
    (record,) = unpack(fresh.get([USER + key[1:]]), user_record(spec))
    return bool(record["num_events"] and record["first_at"] < expired_at)


def raw_id(key: bytes, spec: StreamSpec) -> str:
    """The id in a key."""
    kind, rest = key[:1], key[1:]
    if kind != ITEM and spec.user_id_dtype == "BYTES":
        return repr(rest.decode("utf-8", "replace"))
    number = int.from_bytes(rest, "big") - (1 << 63)
    return f"with the hash {number}" if kind == ITEM and spec.item_id_dtype == "BYTES" else str(number)
