"""Workers between a broker and a Valkey server, both real: killed, restarted, several, late, and fed nonsense."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade_client.events import encode_events
from ensemble.stream.messages import Message, MessageReader, Read, plain_columns
from ensemble.stream.worker import Worker
from runtime.stream.fields import inputs
from runtime.stream.keys import user_keys
from runtime.stream.record import unpack, user_record
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import read_url
from runtime.stream.rejected import Rejected
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply_at
from runtime.stream.store import ITEM, SEEN, USER, LmdbStore, StoreError
from runtime.stream.topic_url import read_topic_url
from runtime.stream.windows import Window
from tests.ensemble.stream.broker import PARTITIONS, Broker
from tests.ensemble.stream.worker import Process
from tests.runtime.stream import valkey
from workflows.core.errors import ServingError

pytestmark = pytest.mark.service("kafka")
WINDOWS = (Window("click", 3600), Window("any", 86_400))
SPEC = StreamSpec(
    *("INT64", "INT64", ("click", "buy"), "in_stock"),
    history_length=5, dedupe_last=8, user_windows=WINDOWS, item_windows=WINDOWS, since=("buy",),
)  # fmt: skip
# A killed worker is given up soon.
QUICK = "session.timeout.ms=4000&heartbeat.interval.ms=500"
NAMES = iter(range(1000))
# A broker in a process of its own, with one event.
BROKER = """
import confluent_kafka, time
producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = producer.list_topics("clicks", timeout=60).brokers.values()
producer.produce("clicks", b'{"user_id": 1, "item_id": 2}', b"1")
producer.flush()
print(f"{broker.host}:{broker.port}", flush=True)
time.sleep(600)
"""
START = 1_700_000_000


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[valkey.Valkey]:
    with valkey.one(tmp_path_factory.mktemp("valkey")) as server:
        yield server


class World:
    """A topic and a state of its own, and what was sent."""

    def __init__(self, broker: Broker, server: valkey.Valkey, folder: Path) -> None:
        self._broker, self._name, self.folder = broker, f"topic-{next(NAMES)}", folder
        broker.make(self._name)
        self.source = f"{broker.url(self._name)}?{QUICK}"
        self.store_url = f"{server.url}?prefix={self._name}"
        self.store = RedisStore(read_url(self.store_url), SPEC, 5.0)
        self._sent: list[list[Message]] = [[] for _ in range(PARTITIONS)]
        self._running: list[Process] = []

    def send(self, *events: dict | bytes, partitions: int = PARTITIONS) -> None:
        for partition, message in self._broker.send(self._name, events, partitions):
            self._sent[partition].append(Message(len(self._sent[partition]), *message))

    def start(self, batch: int = 64) -> Process:
        process = Process(self.source, self.store_url, SPEC, self.folder, batch)
        self._running.append(process)
        return process

    def worker(self) -> Worker:
        """One in this process."""
        store = RedisStore(read_url(self.store_url), SPEC, 5.0)
        topic = read_topic_url(f"{self._broker.url(self._name)}?{QUICK}")
        return Worker(topic, store, SPEC, Rejected(self.folder), batch=64)

    def wait(self, timeout_s: float = 120) -> None:
        """Until all that was sent is in the state."""
        wanted = tuple(map(len, self._sent))
        self.until(lambda: self.positions() == wanted, timeout_s)

    def until(self, holds: Callable[[], bool], timeout_s: float = 120) -> None:
        until = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < until, (self.positions(), tuple(map(len, self._sent)))
            time.sleep(0.05)

    def positions(self) -> tuple[int, ...]:
        try:
            with self.store.read() as reading:
                return reading.position.parts  # type: ignore[attr-defined]
        except StoreError:
            return ()

    def check(self) -> None:
        """Every record is what one fold of each partition says, in one batch and without a break."""
        reader = MessageReader(SPEC)
        for partition, messages in enumerate(self._sent):
            folder = self.folder / f"lmdb-{partition}-{next(NAMES)}"
            local = LmdbStore(folder, writable=True)
            read = reader.read(partition, messages)
            if isinstance(read, Read):
                apply_at(local, SPEC, read.events, read.offsets, len(messages))
            with local.read() as expected, RedisPartition(self.store, partition).read() as found:
                users = dict(expected.scan(USER))
                assert found.get(list(users)) == list(users.values())
                assert dict(found.scan(ITEM)) == dict(expected.scan(ITEM))
                seen = dict(expected.scan(SEEN))
                assert found.get(list(seen)) == list(seen.values())
            local.close()

    def rejected(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "rejected.ndjson").read_text().splitlines()]

    def end(self) -> None:
        for process in self._running:
            process.kill()
        self.store.close()


@pytest.fixture
def world(broker, server, tmp_path) -> Iterator[World]:
    made = World(broker, server, tmp_path)
    yield made
    made.end()


def clicks(num: int, seed: int = 0, *, hot: float = 0.0) -> list[dict]:
    rng = random.Random(seed)
    return [
        {
            "user_id": rng.randint(1, 60),
            "item_id": 7 if rng.random() < hot else rng.randint(1, 40),
            "label": rng.choice(["click", "click", "buy", "impression"]),
            "at": START + rng.randint(0, 90_000),
            "event_id": f"e{rng.randint(0, 4 * num)}",
        }
        for _ in range(num)
    ]


@pytest.mark.long
@pytest.mark.slow
def test_workers_that_are_killed_lose_nothing_and_count_nothing_twice(world):
    world.send(*clicks(3000, hot=0.5))
    rng = random.Random(4)
    for round_ in range(4):
        process = world.start(batch=rng.choice([16, 64]))
        before = world.positions()
        world.until(lambda before=before: world.positions() != before)
        time.sleep(rng.random() / 5)
        process.kill()
        world.send(*clicks(100, seed=round_ + 1))
    world.start(512)
    world.wait()
    world.check()


@pytest.mark.slow
def test_two_workers_share_the_partitions_and_one_takes_over_what_the_other_leaves(world):
    first = world.start()
    world.send(*clicks(300))
    world.wait()
    second = world.start()
    world.send(*clicks(600, seed=1))
    world.wait()
    assert first.stop()[0] == 0
    world.send(*clicks(600, seed=2))
    world.wait()
    world.check()
    status, said = second.stop()
    assert status == 0 and "reads the partitions 0, 1, 2, 3" in said


def test_a_store_that_goes_away_stops_nothing_for_good(world, server):
    process = world.start()
    world.send(*clicks(200))
    world.wait()
    server.kill()
    world.send(*clicks(400, seed=1))
    process.until("is away")
    server.start()
    world.wait()
    world.check()
    assert process.stop()[0] == 0


def test_a_store_that_comes_back_with_nothing_is_filled_from_the_topic(broker, tmp_path):
    with valkey.one(tmp_path / "first") as first:
        world = World(broker, first, tmp_path)
        process = world.start()
        world.send(*clicks(200))
        world.wait()
        first.kill()
        # A batch meets the store while it is away.
        world.send(*clicks(50, seed=2))
        process.until("is away")
        again = valkey.Valkey(tmp_path / "second", first.port)
        try:
            world.send(*clicks(50, seed=1))
            world.wait()
            world.check()
            status, said = process.stop()
            assert status == 0 and "the store has lost events of partition" in said and "reads from 0 on" in said
        finally:
            world.end()
            again.kill()


def test_a_broker_that_is_gone_is_said_and_the_worker_can_be_stopped(server, tmp_path):
    with subprocess.Popen([sys.executable, "-c", BROKER], stdout=subprocess.PIPE, text=True) as alone:
        assert alone.stdout is not None
        shown = f"kafka://{alone.stdout.readline().strip()}/clicks"
        store_url = f"{server.url}?prefix=alone"
        process = Process(shown, store_url, SPEC, tmp_path)
        store = RedisStore(read_url(store_url), SPEC, 5.0)

        def is_there() -> bool:
            try:
                with store.read() as reading:
                    return int(reading.position) == 1
            except StoreError:
                return False

        until = time.monotonic() + 120
        while not is_there():
            assert time.monotonic() < until
            time.sleep(0.05)
        alone.kill()
        assert f"no broker of {shown} answers" in process.until("answers; goes on when one does")
        assert process.stop()[0] == 0
        store.close()


def test_more_partitions_than_the_state_was_made_of_are_refused(world, tmp_path):
    url = read_topic_url(world.source)
    worker = Worker(url, RedisStore(read_url(world.store_url), SPEC, 5.0), SPEC, Rejected(tmp_path), 64)
    with pytest.raises(ServingError, match=r"has got more partitions: users move, .*another prefix"):
        worker._start({0: (0, 0), PARTITIONS: (0, 0)})
    worker.close()


def test_what_is_sent_twice_counts_once_and_ids_beyond_doubles_are_exact(world):
    big = 9007199254740993
    event = {"user_id": big, "item_id": big, "at": START, "event_id": "a"}
    world.send(event, event, {"user_id": big - 1, "item_id": 5, "event_id": "a"})
    world.start()
    world.wait()
    world.send(event)
    world.wait()
    with world.store.read() as reading:
        keys = user_keys(np.array([big, big - 1]))
        records = unpack(reading.get([USER + key for key in keys]), user_record(SPEC))
    assert records["num_events"].tolist() == [1, 1]
    assert records["slots"]["item"][:, 0].tolist() == [big, 5]
    # Without `at` it happened when the topic took it.
    assert records["slots"]["at"][:, 0].tolist() == [START * 10**9] * 2
    world.check()


def test_poison_costs_no_other_message_anything(world):
    good = {"user_id": 3, "item_id": 4}
    poison = [
        (b"nonsense", "no JSON"),
        (b"[1]", "no JSON object"),
        ({"user_id": 3}, "item_id is missing"),
        ({"user_id": "x", "item_id": 4}, "user_id"),
        ({"user_id": 3, "item_id": 4, "colour": "red"}, "unknown field 'colour'"),
        ({"user_id": 3, "item_id": 4, "at": "2026-03-29T02:30"}, "has no zone"),
        ({"user_id": 3, "item_id": 4, "label": "hover"}, "unknown label"),
        (b'{"user_id": 3, "item_id": 4}', "its key is none"),
        ({"user_id": 2**70, "item_id": 4}, "user_id"),
    ]
    for number, (message, _) in enumerate(poison):
        world.send(good | {"item_id": number}, message)
    world.send({"kind": "item", "item_id": 4, "in_stock": False})
    world.start()
    world.wait()
    (key,) = user_keys(np.array([3]))
    with world.store.read() as reading:
        (record,) = unpack(reading.get([USER + key]), user_record(SPEC))
    assert record["num_events"] == len(poison)
    reasons = [line["reason"] for line in world.rejected()]
    assert len(reasons) == len(poison)
    for _, words in poison:
        assert any(words in reason for reason in reasons), (words, reasons)
    assert {"received_at", "reason", "partition", "offset", "event"} == set(world.rejected()[0])
    world.check()


def test_an_event_that_no_fold_takes_is_set_aside_and_the_others_count(world, monkeypatch):
    read, stop = MessageReader.read, threading.Event()

    def poisoned(self: MessageReader, partition: int, messages: list[Message]) -> Read | list[str]:
        found = read(self, partition, messages)
        label = np.where(found.events.item == 5, 77, found.events.label).astype(np.uint8)
        return found._replace(events=replace(found.events, label=label))

    monkeypatch.setattr(MessageReader, "read", poisoned)
    worker = world.worker()
    running = threading.Thread(target=worker.run, args=(stop,))
    running.start()
    world.send(*({"user_id": 3, "item_id": number} for number in range(9)))
    world.wait()
    stop.set()
    running.join()
    worker.close()
    assert (worker.num_events, worker.num_rejected) == (8, 1)
    with world.store.read() as reading:
        (record,) = unpack(reading.get([USER + user_keys(np.array([3]))[0]]), user_record(SPEC))
    assert record["num_events"] == 8
    (line,) = world.rejected()
    assert line["event"]["item_id"] == 5 and {"partition", "offset"} < line.keys()
    assert line["reason"].startswith("it could not be folded into the state (IndexError")


def test_the_producer_of_the_documentation_is_understood(world, broker):
    import confluent_kafka

    text = (Path(__file__).parents[3] / "docs/OUTGROWN.md").read_text()
    code = next(block for block in text.split("```python\n")[1:] if "Producer" in block).split("```")[0]
    code = code.replace("broker1:9092", broker.address).replace('"clicks"', repr(world._name))
    world.start()
    exec(code, {"confluent_kafka": confluent_kafka, "json": json})
    world.until(lambda: sum(world.positions()) == 1)
    (key,) = user_keys(np.array([17]))
    with world.store.read() as reading:
        (record,) = unpack(reading.get([USER + key]), user_record(SPEC))
    assert record["slots"]["item"][0] == 1791 and record["slots"]["at"][0] == START * 10**9


def test_the_state_says_how_fresh_it_is(world):
    world.start()
    world.send(*clicks(20))
    world.wait()

    def is_fresh() -> bool:
        with world.store.read() as reading:
            return time.time_ns() - reading.fresh_at < 5 * 10**9

    world.until(is_fresh)


def test_a_topic_that_was_made_anew_and_one_that_is_not_there_are_refused(world, broker, server):
    world.store.begin(world._name, PARTITIONS)
    RedisPartition(world.store, 0).commit([], 99)
    status, said = world.start().wait()
    assert status == 1 and "the topic was made anew" in said
    broken = Process("kafka://127.0.0.1:1/clicks?socket.timeout.ms=500", world.store_url, SPEC, world.folder)
    status, said = broken.wait()
    assert status == 1 and "no broker of kafka://127.0.0.1:1/clicks answers" in said


def test_plain_events_are_read_as_the_client_reads_them():
    rng = random.Random(7)
    known = {tensor.name: tensor.dtype for tensor in inputs(SPEC)}
    choices: dict[str, list] = {
        "user_id": [1, 2**62, "x", None, 2**70, True, 1.0],
        "item_id": [1, -5, "x", None],
        "at": [1_700_000_000, "2026-01-01T00:00:00Z", None, 1.5],
        "label": ["click", "", None, 3],
        "value": [1, 2.5, None, "x", True],
        "event_id": ["a", 7, None],
        "in_stock": [True, None],
        "extra": ['{"a": 1}'],
    }
    compared = 0
    for _ in range(500):
        events = []
        for _ in range(rng.randint(1, 3)):
            event = {name: rng.choice(values[: rng.choice([1, 2, 9])]) for name, values in choices.items()}
            event = {name: value for name, value in event.items() if rng.random() < 0.6 or name.endswith("_id")}
            events.append({"event_id": None, **event})
        columns = plain_columns(events, known)
        if columns is None:
            continue
        compared += 1
        encoded = encode_events(events, known)
        assert not encoded.refused
        theirs = {tensor.name: tensor.array for tensor in encoded.tensors}
        assert columns.keys() == theirs.keys()
        for name, column in columns.items():
            assert (column.dtype, column.tolist()) == (theirs[name].dtype, theirs[name].tolist())
    assert compared > 10
