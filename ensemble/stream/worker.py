"""`cascade stream run`: events of a topic into the shared state, by as many workers as the topic has partitions."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ensemble.serving.repository import find_repository
from ensemble.serving.signals import stop_signals
from ensemble.stream.messages import Message, MessageReader, Read
from ensemble.stream.shared import find_shared, needs, stream_spec
from ensemble.stream.topic import Topic
from runtime.stream.events import Events
from runtime.stream.folder import FolderError, make_folder
from runtime.stream.poison import fold
from runtime.stream.redis import WRITE_TIMEOUT_S, RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import read_url
from runtime.stream.rejected import Rejected
from runtime.stream.set_aside import set_aside_line
from runtime.stream.spec import StreamSpec
from runtime.stream.store import NoStateError, StoreError
from runtime.stream.topic_url import TopicUrl
from workflows.core import console
from workflows.core.errors import ArtefactError, ConfigError, ServingError

__all__ = ["Worker", "run_worker"]

# How long a worker waits for messages, how often it says how far it is, and when it tries a store again.
WAIT_S, BEAT_S, AGAIN_S = 0.1, 0.5, 0.2
NS_PER_MS = 1_000_000


def run_worker(path: Path, source: str | None, store: str | None, batch: int, events: Path | None) -> int:
    """Fold a topic until SIGTERM or SIGINT.

    Args:
        path: a run with an export that takes in live events, or a published repository.
        source: the URL of the topic; None: CASCADE_SOURCE, else the config's.
        store: the URL of the state; None: CASCADE_STORE, else the config's.
        batch: most messages of one commit.
        events: the folder where refused events are kept; None: that of the run.

    Returns:
        The exit status: 0 after a clean stop.

    Raises:
        SetupError: a package is missing.
        ArtefactError, ConfigError: see the arguments.
        ServingError: the topic or the state cannot be used.
    """
    needs("stream run")
    shared = find_shared(path, source, store, "stream run", events)
    if shared is None:
        stream_spec(path, find_repository(path))
        raise ConfigError(
            "give --source kafka://broker:9092/topic and --store redis://host:6379, the environment variables for "
            "them, or both URLs in [stream] of the config"
        )
    try:
        make_folder(shared.folder)
        state = RedisStore(read_url(shared.store), shared.spec, WRITE_TIMEOUT_S)
        worker = Worker(shared.topic, state, shared.spec, Rejected(shared.folder), batch)
    except FolderError as error:
        raise ArtefactError(str(error)) from error
    except StoreError as error:
        raise ServingError(str(error)) from error
    with stop_signals() as stop:
        try:
            worker.run(stop)
        finally:
            worker.close()
    rate = worker.num_events / max(worker.used_s, 1e-9)
    console.say(
        f"stream run: stopped, {worker.num_events:,} events taken in ({rate:,.0f} a CPU-second), "
        f"{worker.num_rejected:,} refused"
    )
    return 0


class Worker:
    """One of a group.

    The state says where a partition is read on: what was written and not committed comes again and changes nothing.

    Args:
        url: of the topic.
        store: where the state is.
        spec: of the stream.
        rejected: where refused events go.
        batch: most messages of one commit.

    Raises:
        ServingError: the topic cannot be read.
        StoreError: the store cannot be used, or holds the state of something else.

    Attributes:
        num_events, num_rejected: so far.
        used_s: CPU time of this process for them, all threads together.
    """

    def __init__(self, url: TopicUrl, store: RedisStore, spec: StreamSpec, rejected: Rejected, batch: int) -> None:
        self._url, self._store, self._spec = url, store, spec
        self._rejected, self._batch = rejected, batch
        self._reader = MessageReader(spec)
        self._stop = threading.Event()
        # By partition: what the state is at, the next message that is not read, and when the latest one came.
        self._next: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._latest: dict[int, int] = {}
        self._beat_at = 0.0
        self.num_events = self.num_rejected = 0
        self.used_s = 0.0
        self._topic = Topic(url, url.group or f"cascade-{store.url.prefix}-{spec.state_version}", self._start)
        try:
            store.begin(url.topic, self._topic.num_partitions)
        except StoreError:
            self._topic.close()
            raise

    def run(self, stop: threading.Event) -> None:
        """Until a stop is asked for.

        Raises:
            ServingError: the topic cannot be read any more.
        """
        self._stop = stop
        console.say(f"stream run: {self._url.shown} into {self._store.url.shown}")
        began_s = time.process_time()
        while not stop.is_set():
            messages, ends = self._topic.poll(self._batch * max(len(self._next), 1), WAIT_S)
            for partition, found in messages.items():
                for first in range(0, len(found), self._batch):
                    if not self._take(partition, found[first : first + self._batch]):
                        break
            self._read |= {partition: max(end, self._read.get(partition, 0)) for partition, end in ends.items()}
            self._topic_commit(messages)
            self._beat()
            self.used_s = time.process_time() - began_s

    def close(self) -> None:
        """Leave the group and the store."""
        self._topic.close()
        self._store.close()

    def _start(self, bounds: Mapping[int, tuple[int, int]]) -> Mapping[int, int]:
        """Where partitions are read on that are this worker's from now on."""
        self._next, self._read, self._latest = {}, {}, {}
        for partition, (low, high) in bounds.items():
            if partition >= self._topic.num_partitions:
                raise ServingError(
                    f"{self._url.shown} has got more partitions: users move, and their offsets begin anew; fill a new "
                    "state from the topic's beginning under another prefix in the store's URL (?prefix=...)"
                )
            position = self._position(partition)
            if position > high:
                raise ServingError(
                    f"partition {partition} of {self._url.shown} ends at offset {high}, and the state knows events up "
                    f"to {position}: the topic was made anew; give another prefix in the store's URL (?prefix=...)"
                )
            if 0 < position < low:
                console.say(
                    f"stream run: the events {position:,} to {low:,} of partition {partition} are gone from the topic"
                )
            self._next[partition] = self._read[partition] = max(position, low)
        if bounds:
            console.say(f"stream run: reads the partitions {', '.join(map(str, sorted(bounds)))}")
        return dict(self._next)

    def _position(self, partition: int) -> int:
        """Of the state; waits for a store that is away.

        Raises:
            ServingError: it did not come back before a stop was asked for.
        """
        while True:
            try:
                with RedisPartition(self._store, partition).read() as reading:
                    return reading.position
            except NoStateError:
                # A server that was started again with nothing: the state is made from what the topic still has.
                self._begin()
            except StoreError as error:
                self._wait(error)

    def _begin(self) -> None:
        """Make the state where there is none; what fails is met again."""
        try:
            self._store.begin(self._url.topic, self._topic.num_partitions)
        except StoreError as error:
            self._wait(error)

    def _take(self, partition: int, messages: Sequence[Message]) -> bool:
        """Fold messages of a partition; whether those behind them are next."""
        read: Read | list[str] | None = None
        while True:
            # Asked anew at every try: a store that was away may have come back with less.
            position = self._position(partition)
            if position < self._next.get(partition, 0):
                self._go_back(partition, position)
                return False
            fresh = [message for message in messages if message.offset >= position]
            if not fresh:
                return True
            if read is None:
                read = self._reader.read(partition, fresh)
                self._keep(read.rejected if isinstance(read, Read) else read)
            end = fresh[-1].offset + 1
            if self._fold(partition, read if isinstance(read, Read) else None, end):
                break
            if self._stop.is_set():
                return False
        rejected = read.rejected if isinstance(read, Read) else read
        self._next[partition] = self._read[partition] = end
        self._latest[partition] = fresh[-1].at_ms * NS_PER_MS
        self.num_events += len(fresh) - len(rejected)
        self.num_rejected += len(rejected)
        return True

    def _go_back(self, partition: int, position: int) -> None:
        """Read on where the state is, or from the first message that the topic still has."""
        start = max(position, self._topic.first_offset(partition))
        console.say(f"stream run: the store has lost events of partition {partition}; reads from {start:,} on")
        self._topic.seek(partition, start)
        self._next[partition] = self._read[partition] = start

    def _fold(self, partition: int, found: Read | None, end: int) -> bool:
        """Whether it is all in the state."""
        part = RedisPartition(self._store, partition)
        try:
            if found is None:
                part.commit([], end)
            else:
                set_aside = partial(self._set_aside, partition)
                fold(part, self._spec, found.events, found.offsets, end, set_aside)
            return True
        except StoreError as error:
            self._wait(error)
            return False

    def _set_aside(self, partition: int, event: Events, offset: int, why: str) -> None:
        """Keep an event that cannot be folded beside the refused ones; the state says that it is without it."""
        self._store.set_aside(partition, offset)
        self._keep([set_aside_line(event, offset, why, partition=partition)])
        self.num_rejected += 1
        self.num_events -= 1

    def _wait(self, error: StoreError) -> None:
        if self._stop.is_set():
            raise ServingError(f"{error}; what is not in the state yet comes again") from error
        console.say(f"stream run: {error}; tries again")
        time.sleep(AGAIN_S)

    def _keep(self, rejected: Sequence[str]) -> None:
        """Before the position moves past them: a refused event may be kept twice, and is never lost."""
        if rejected:
            try:
                self._rejected.write(rejected)
            except OSError as error:
                raise ServingError(f"refused events cannot be kept ({error}); nothing of them is lost") from error

    def _topic_commit(self, messages: Mapping[int, Sequence[Message]]) -> None:
        done = {partition: self._next[partition] for partition in messages if partition in self._next}
        if done:
            self._topic.commit(done)

    def _beat(self) -> None:
        """Say up to when everything that came is in the state, as far as this can be known."""
        if time.monotonic() - self._beat_at < BEAT_S:
            return
        self._beat_at = time.monotonic()
        fresh = {}
        for partition, read in self._read.items():
            end, at = self._topic.ends.get(partition, (-1, 0))
            if end >= 0:
                fresh[partition] = at if read >= end else self._latest.get(partition, 0)
        with suppress(StoreError):
            self._store.say_fresh(fresh)
