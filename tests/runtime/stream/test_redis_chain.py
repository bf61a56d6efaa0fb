"""The chain on a state on Valkey: the slates of the chain that is told the same, and those of the export without it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.stream.live import AWAY
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import STORE_VARIABLE, read_url
from runtime.stream.state import apply_at
from runtime.stream.store import StoreError
from tests.ensemble.synthetic import L
from tests.runtime.stream import valkey
from tests.runtime.stream.test_live import NOBODY, World, found_by
from tests.runtime.stream.writer import events_of

pytestmark = [pytest.mark.service("valkey"), pytest.mark.usefixtures("patience")]
patience = valkey.patience
PARTITIONS = 3


class Writer:
    """Folds events into the partitions of their users, as workers do."""

    def __init__(self, url: str, world: World) -> None:
        self.store = RedisStore(read_url(url), world.stream, 60.0)
        self.store.begin("clicks", PARTITIONS)
        self._spec, self._next = world.stream, [0] * PARTITIONS

    def send(self, *rows: dict) -> int:
        for row in rows:
            number = hash(row.get("user", row["item"])) % PARTITIONS
            events, offset = events_of([row], is_text=self._spec.item_id_dtype == "BYTES"), self._next[number]
            apply_at(RedisPartition(self.store, number), self._spec, events, np.array([offset]), offset + 1)
            self._next[number] += 1
        self.store.say_fresh(dict.fromkeys(range(PARTITIONS), time.time_ns()))
        return sum(self._next)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("live"), further=True)


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[valkey.Valkey]:
    with valkey.one(tmp_path / "valkey") as server:
        monkeypatch.setenv(STORE_VARIABLE, server.url)
        yield server


def test_slates_know_what_the_store_knows_and_go_on_without_it(world, server):
    chain, writer = world.open(), Writer(server.url, world)
    writer.send(*world.clicks(5, 20, 21), *world.clicks(NOBODY, 33), world.stock(7, 0, at=9))
    assert world.agrees(chain, 5, 20, 21)["stream_offset"].tolist() == [[4]]
    assert world.agrees(chain, NOBODY, 33)["path"].tolist() == [[b"history"]]
    assert not any(7 in rows for rows in found_by(chain, world, NOBODY).values())
    # Items that left the record are seen and no more; stock comes back.
    items = tuple(range(30, 30 + L + 5))
    writer.send(*world.clicks(6, *items), world.stock(7, 1, at=10))
    oracle = world.oracle()
    oracle.seen[6] |= set(items[:5])
    world.agrees_with(oracle, chain, 6, recent=items[5:])
    server.kill()
    for _ in range(3):
        assert world.agrees(chain, 5)["stream_offset"].tolist() == [[AWAY]]
    opened_without = world.open()
    assert world.agrees(opened_without, 5)["stream_offset"].tolist() == [[AWAY]]
    server.start()
    until = time.monotonic() + 60
    while chain.recommend({"user_id": world.user(5)})["stream_offset"][0, 0] == AWAY:
        assert time.monotonic() < until
        time.sleep(0.02)
    for each in (chain, opened_without):
        world.agrees(each, 5, 20, 21)
    while True:
        try:
            writer.send(*world.clicks(5, 22, at=50))
            break
        except StoreError:
            assert time.monotonic() < until
    world.agrees(chain, 5, 20, 21, 22)
    writer.store.close()


def test_a_state_that_was_emptied_is_another_one(world, server):
    chain, writer = world.open(), Writer(server.url, world)
    writer.send(*world.clicks(5, 20), world.stock(7, 0))
    world.agrees(chain, 5, 20)
    server.client().flushall()
    assert world.agrees(chain, 5)["stream_offset"].tolist() == [[AWAY]]
    again = Writer(server.url, world)
    again.send(*world.clicks(5, 30), *world.clicks(6, 31), *world.clicks(8, 31))
    world.agrees(chain, 5, 30)
    rows = {user: found_by(chain, world, user) for user in (NOBODY, 2)}
    assert rows == {user: found_by(world.plain, world, user) for user in rows}
    again.store.close()
    writer.store.close()
