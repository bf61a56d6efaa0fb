"""The commands of `cascade stream` where events come over a topic and the state is on Valkey, both real."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from ensemble.slates.source import find_source
from ensemble.slates.users import active_users, raw_user
from ensemble.stream.messages import Message, MessageReader, Read
from ensemble.stream.shared import stream_spec
from ensemble.stream.worker import Worker
from runtime.stream.keys import user_keys
from runtime.stream.record import unpack, user_record
from runtime.stream.redis import RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.rejected import Rejected
from runtime.stream.store import ITEM, USER, StoreError
from runtime.stream.topic_url import read_topic_url
from scripts.stream import stream
from tests.ensemble.stream.broker import PARTITIONS, Broker
from tests.ensemble.stream.worker import Process
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from tests.runtime.stream import valkey

pytestmark = pytest.mark.service("kafka")
NAMES = iter(range(1000))


class Product:
    """A run whose config names a topic and a state of its own, in no use yet."""

    def __init__(self, root: Path, broker: Broker, server: valkey.Valkey) -> None:
        self.broker, self.root, self.topic = broker, root, f"product-{next(NAMES)}"
        broker.make(self.topic)
        self.source, self.store = broker.url(self.topic), f"{server.url}?prefix={self.topic}"
        self.spec = stream_spec(root, find_repository(root))
        self._running: list[Process] = []

    def run(self, *words: object) -> tuple[int, str]:
        """Status and output of a command with the run and both URLs."""
        urls = ["--source", self.source, "--store", self.store]
        done = CliRunner().invoke(stream, [str(word) for word in (*words, self.root, *urls)])
        return done.exit_code, " ".join(done.output.split())

    def click(self, num: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        for number in range(num):
            event = {
                "user_id": user_id(int(rng.integers(0, 15)), False),
                "item_id": item_id(int(rng.integers(0, 40)), False),
                "at": 1_700_000_000 + int(rng.integers(0, 9000)),
                "event_id": f"{seed}-{number}",
            }
            # Where librdkafka puts a key, as `cascade stream forget` does.
            self.broker.produce(self.topic, event)
        self.broker.flush()

    def start(self) -> Process:
        folder = self.root / "events"
        folder.mkdir(exist_ok=True)
        self._running.append(Process(self.source, self.store, self.spec, folder, batch=64))
        return self._running[-1]

    def state(self) -> RedisStore:
        return RedisStore(read_url(self.store), self.spec, 5.0)

    def until(self, num: int, timeout_s: float = 120) -> None:
        """Workers have folded so many messages."""
        until(lambda: self._position() == num, timeout_s)

    def _position(self) -> int:
        store = self.state()
        try:
            with store.read() as reading:
                return int(reading.position)
        except StoreError:
            return -1
        finally:
            store.close()

    def end(self) -> None:
        for process in self._running:
            process.kill()


def until(holds: Callable[[], bool], timeout_s: float = 120) -> None:
    stop = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < stop
        time.sleep(0.05)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, config = make_run(tmp_path_factory.mktemp("run"), num_users=20, num_items=80, stream=STREAM_FEATURES)
    export(run, msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, layouts=("fused",))))
    return run.root


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.Valkey]:
    with valkey.one(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def product(root: Path, broker: Broker, server: valkey.Valkey) -> Iterator[Product]:
    made = Product(root, broker, server)
    yield made
    made.end()


def test_status_audit_and_replay_look_at_the_topic_and_its_state(product: Product) -> None:
    status, said = product.run("status")
    assert status == 1 and "holds no state of this [stream] under the prefix" in said
    product.click(300)
    product.start()
    product.until(300)
    status, said = product.run("status")
    assert status == 0 and f"300 in {PARTITIONS} partitions" in said and "0 messages are not in it yet" in said
    with product.state().read() as reading:
        kinds = [key[:1] for key in reading.every_key()]
    assert f"{kinds.count(USER)} users, {kinds.count(ITEM)} items" in said and "geheim" not in said
    status, said = product.run("status", "--json")
    found = json.loads(said)
    assert status == 0 and sum(found["positions"]) == found["num_messages"] == 300 and "geheim" not in said
    assert found["num_behind"] == [0] * PARTITIONS and found["is_same"]
    assert (found["num_users"], found["num_items"]) == (kinds.count(USER), kinds.count(ITEM))
    status, said = product.run("audit")
    assert status == 0 and "values of the live state are those of the topic, 0 differ" in said
    status, said = product.run("replay", "--check")
    assert status == 0 and "records of the live state are those of the topic, to the byte" in said
    assert "left out" not in said
    status, said = product.run("replay")
    assert status == 0 and "folded 300 events" in said


def test_a_record_that_is_another_or_nobodys_is_named(product: Product) -> None:
    product.click(100)
    worker = product.start()
    product.until(100)
    assert worker.stop()[0] == 0
    store = product.state()
    with store.read() as reading:
        key = next(key for key in sorted(reading.every_key()) if key[:1] == USER)
        value = reading.get([key])[0]
    assert value is not None
    client, name = store.nodes._client, store.record_key(key)
    (raw,) = [int.from_bytes(key[1:], "big") - (1 << 63)]
    client.set(name, value[:20] + bytes([value[20] ^ 1]) + value[21:])
    status, said = product.run("replay", "--check")
    assert status == 1 and f"they differ first in user {raw}; start workers with another prefix" in said
    client.set(name, value)
    assert product.run("replay", "--check")[0] == 0
    (stranger,) = user_keys(np.array([123_456_789]))
    client.set(store.record_key(USER + stranger), (0).to_bytes(8, "little") + value[8:])
    status, said = product.run("replay", "--check")
    assert status == 1 and "user 123456789, whom no message of the topic names" in said
    store.close()


def test_workers_may_go_on_while_the_state_is_checked(product: Product) -> None:
    product.click(2000)
    product.start()
    until(lambda: product._position() > 0)
    for command in (("audit",), ("replay", "--check")):
        product.click(500, seed=len(command))
        status, said = product.run(*command)
        assert status == 0, said
    product.until(3000)


def test_a_user_in_two_partitions_is_found(product: Product) -> None:
    product.click(40)
    product.start()
    product.until(40)
    user = user_id(3, False)
    for partitions in (1, 2, 3):
        product.broker.send(product.topic, [{"user_id": user, "item_id": item_id(1, False)}], partitions)
    assert len({sum(str(user).encode()) % partitions for partitions in (1, 2, 3)}) > 1
    product.until(43)
    status, said = product.run("replay", "--check")
    assert status == 1 and f"user {user} has events in the partitions" in said and "partitioner" in said


def test_forget_reaches_the_state_and_says_what_stays(product: Product) -> None:
    product.click(200)
    product.start()
    product.until(200)
    user = user_id(3, False)
    status, said = product.run("forget", user)
    assert status == 0 and f"user {user} is forgotten in the state; its messages stay in kafka://" in said
    (key,) = user_keys(np.array([user]))
    with product.state().read() as reading:
        (record,) = unpack(reading.get([USER + key]), user_record(product.spec))
    assert record["num_events"] == 0 and record["num_history"] == 0
    assert product.run("forget", "nobody")[0] == 1


def test_the_tables_fill_an_empty_topic_once(product: Product) -> None:
    status, said = product.run("backfill", "--days", 1)
    assert status == 0 and f"{product.source} has the latest" in said
    num = int(said.split("has the latest ")[1].split()[0].replace(",", ""))
    product.start()
    product.until(num)
    assert product.run("audit")[0] == 0
    status, said = product.run("backfill", "--days", 1)
    assert status == 1 and f"has had {num:,} messages already" in said


def test_users_who_did_nothing_for_long_leave_the_state_and_nobody_else(product: Product) -> None:
    now = int(time.time())
    for user, days in ((1, 40), (1, 30), (2, 40), (2, 1), (3, 20), (4, 0)):
        event = {"user_id": user, "item_id": item_id(days, False), "at": now - days * 86_400}
        product.broker.produce(product.topic, event, now * 1000)
    product.broker.produce(product.topic, {"user_id": 5, "kind": "forget"}, now * 1000)
    product.broker.flush()
    product.start()
    product.until(7)
    status, said = product.run("compact", "--idle-days", 10)
    assert status == 0 and "did nothing for 10 days and are out of the state: 2" in said
    with product.state().read() as reading:
        left = {int.from_bytes(key[1:], "big") - (1 << 63) for key in reading.every_key() if key[:1] == USER}
    assert left == {2, 4, 5}
    # One of them comes back, and begins anew.
    product.broker.produce(product.topic, {"user_id": 3, "item_id": item_id(7, False)}, now * 1000)
    product.broker.flush()
    product.until(8)
    for command in (("replay", "--check"), ("audit",)):
        status, said = product.run(*command)
        assert status == 0 and "2 users were removed for having done nothing" in said, said
    assert "out of the state: 0" in product.run("compact", "--idle-days", 10)[1]


@pytest.mark.slow
def test_an_event_that_no_fold_takes_stops_no_command(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    read, stop = MessageReader.read, threading.Event()
    poison = item_id(5, False)

    def poisoned(self: MessageReader, partition: int, messages: Sequence[Message]) -> Read | list[str]:
        found = read(self, partition, messages)
        if isinstance(found, list):
            return found
        label = np.where(found.events.item == poison, 77, found.events.label).astype(np.uint8)
        return found._replace(events=replace(found.events, label=label))

    product.click(200)
    with monkeypatch.context() as patch:
        patch.setattr(MessageReader, "read", poisoned)
        product.root.joinpath("events").mkdir(exist_ok=True)
        rejected = Rejected(product.root / "events")
        worker = Worker(read_topic_url(product.source), product.state(), product.spec, rejected, batch=64)
        running = threading.Thread(target=worker.run, args=(stop,))
        running.start()
        product.until(200)
        stop.set()
        running.join()
        worker.close()
        assert worker.num_rejected > 0
        status, said = product.run("replay")
        assert status == 0 and f"{worker.num_rejected} events cannot be folded, and were left out" in said, said
        for command in (("replay", "--check"), ("audit",)):
            status, said = product.run(*command)
            assert status == 0, said
    # A later release may be able to fold them; the state is without them all the same.
    for command in (("replay", "--check"), ("audit",)):
        status, said = product.run(*command)
        assert status == 0, said
    assert f"{worker.num_rejected}, which could not be folded into the state" in product.run("status")[1]


@pytest.mark.parametrize(
    ("command", "words"), [("compact", "retention.ms of the topic"), ("rebuild", "workers make the state from it")]
)
def test_what_a_topic_needs_no_command_for_is_said(product: Product, command: str, words: str) -> None:
    status, said = product.run(command)
    assert status == 1 and words in said


def test_one_url_without_the_other_is_refused(product: Product) -> None:
    done = CliRunner().invoke(stream, ["status", str(product.root), "--source", product.source])
    assert done.exit_code == 1 and "give --store redis://host:6379" in done.output


def test_slates_of_active_users_ask_the_state_on_the_store(product: Product, monkeypatch) -> None:
    product.click(50)
    product.broker.send(product.topic, [{"user_id": user_id(5, False), "item_id": item_id(1, False), "at": 10**9}])
    product.start()
    product.until(51)
    monkeypatch.setenv("CASCADE_STORE", product.store)
    source = find_source(str(product.root), None, None)
    assert source.store == product.store and source.events is None
    days = (time.time() - 1_600_000_000) / 86_400
    active = {raw_user(key, False) for key in active_users(source, days)}
    assert active and active <= {user_id(row, False) for row in range(15)}
    assert not list(active_users(source, 1.0))
