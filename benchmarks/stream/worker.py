"""How many events a worker takes from a topic into a state on Redis, a second of one core."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ensemble.stream.worker import Worker
from runtime.stream.redis import WRITE_TIMEOUT_S, RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.rejected import Rejected
from runtime.stream.spec import StreamSpec
from runtime.stream.store import StoreError
from runtime.stream.topic_url import read_topic_url
from runtime.stream.windows import Window
from workflows.core.errors import ServingError

__all__ = ["WorkerRate", "measure_worker"]

TOPIC = "benchmark"
WINDOWS = (Window("click", 3600), Window("click", 86_400), Window("any", 604_800))
SPEC = StreamSpec("INT64", "INT64", ("click", "buy"), user_windows=WINDOWS, item_windows=WINDOWS)
START_S, TIMEOUT_S = 1_700_000_000, 600.0
FLUSH_EVERY = 50_000


class WorkerRate(NamedTuple):
    """Figures of one worker.

    Attributes:
        num_events: that it has folded.
        per_cpu_s: of them, a second of one core; without the store's own CPU and the broker's.
        per_s: of them, a second of the clock.
    """

    num_events: int
    per_cpu_s: float
    per_s: float


def measure_worker(store: str, num_events: int, num_users: int, num_items: int, batch: int) -> WorkerRate:
    """Fold events of a topic on librdkafka's mock cluster, which this process is, by a worker in a process of its own.

    Args:
        store: the URL of a Redis or Valkey server.
        num_events: drawn evenly over users and items, each with an id, in order of time.
        num_users: of which they are.
        num_items: the same.
        batch: most messages of one commit.

    Raises:
        ServingError: the worker has stopped, or is not done in ten minutes.
    """
    import confluent_kafka

    producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "linger.ms": 5, "log_level": 0})
    (broker,) = producer.list_topics(TOPIC, timeout=10).brokers.values()
    for key, value in _messages(num_events, num_users, num_items):
        producer.produce(TOPIC, value, key)
        if producer.poll(0) == 0 and len(producer) > FLUSH_EVERY:
            producer.flush()
    producer.flush()
    prefixed = f"{store}{'&' if '?' in store else '?'}prefix=benchmark-{time.time_ns():x}"
    source = f"kafka://{broker.host}:{broker.port}/{TOPIC}"
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    context: Any = multiprocessing.get_context("spawn")
    process = context.Process(target=_work, args=(theirs, source, prefixed, batch), daemon=True)
    process.start()
    ours.recv()
    started_at = time.perf_counter()
    try:
        with closing(RedisStore(read_url(prefixed), SPEC, WRITE_TIMEOUT_S)) as state:
            while _position(state) < num_events:
                if not process.is_alive() or time.perf_counter() - started_at > TIMEOUT_S:
                    raise ServingError("benchmark worker: the worker has stopped, or is not done in ten minutes")
                time.sleep(0.05)
        took_s = time.perf_counter() - started_at
        ours.send(None)
        taken, used_s = ours.recv()
    finally:
        process.terminate()
    return WorkerRate(taken, taken / used_s, taken / took_s)


def _messages(num_events: int, num_users: int, num_items: int) -> Iterator[tuple[bytes, bytes]]:
    random = np.random.default_rng(5)
    users, items = (random.integers(0, num, num_events).tolist() for num in (num_users, num_items))
    for number, (user, item) in enumerate(zip(users, items, strict=True)):
        event = {"user_id": user, "item_id": item, "label": SPEC.labels[number % 2], "at": START_S + number // 100}
        yield b"%d" % user, json.dumps({**event, "event_id": f"{number:016x}"}).encode()


def _work(pipe: Connection, source: str, store: str, batch: int) -> None:
    """What the worker's process does, until it is told to stop."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="benchmark-worker-") as folder:
        state = RedisStore(read_url(store), SPEC, WRITE_TIMEOUT_S)
        worker = Worker(read_topic_url(source), state, SPEC, Rejected(Path(folder)), batch)
        pipe.send(None)
        threading.Thread(target=_wait, args=(pipe, stop), daemon=True).start()
        worker.run(stop)
        pipe.send((worker.num_events, worker.used_s))
        worker.close()


def _wait(pipe: Connection, stop: threading.Event) -> None:
    pipe.recv()
    stop.set()


def _position(state: RedisStore) -> int:
    try:
        with state.read() as reading:
            return int(reading.position)
    except StoreError:
        return 0
