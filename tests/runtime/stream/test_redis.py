"""The state on a real Valkey and on a cluster of three: the same bytes as LMDB, whatever is cut off, late or away."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis

from runtime.stream.events import INTERACTION, ITEM
from runtime.stream.homes import RedisHome
from runtime.stream.keys import user_keys
from runtime.stream.live import LiveState, LiveUsers
from runtime.stream.partials import added_up
from runtime.stream.record import item_record, unpack, user_record
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_reading import Positions
from runtime.stream.redis_url import read_url
from runtime.stream.state import apply, apply_at
from runtime.stream.store import ALWAYS, COUNTED, SEEN, STOCK, USER, LmdbStore, NoStateError, StoreError
from runtime.stream.store import ITEM as ITEMS
from tests.runtime.stream import valkey
from tests.runtime.stream.test_fold import LABELS, SECOND, SPEC, events_of

pytestmark = pytest.mark.usefixtures("patience")
patience = valkey.patience
PREFIXES = iter(range(10_000))
PATIENT_S = 60.0


def rows_of(num: int, seed: int = 3) -> list[dict]:
    """Events of all kinds, of a few users and items."""
    rng = random.Random(seed)
    return [
        {
            "kind": rng.choice([INTERACTION] * 12 + [1, ITEM, ITEM, 3]),
            "user": rng.choice([-5, 0, 1, 2, 3, 2**53 + 1]),
            "item": rng.randint(-2, 12),
            "at": 10 * rng.randint(0, 90) * SECOND,
            "label": rng.choice(LABELS[1:]),
            "value": rng.choice([0.0, 1.0, 1.0]),
            "event_id": rng.choice([b"", b"", b"a", b"b"]),
        }
        for _ in range(num)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[valkey.Valkey]:
    with valkey.one(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[list[valkey.Valkey]]:
    with valkey.cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(
    params=[
        pytest.param("server", marks=pytest.mark.service("valkey")),
        pytest.param("nodes", marks=pytest.mark.service("valkey")),
    ]
)
def url(request) -> str:
    """Of a server, then of a cluster; a prefix of its own each time."""
    found = request.getfixturevalue(request.param)
    first = found if isinstance(found, valkey.Valkey) else found[1]
    return f"{first.url}?prefix=t{next(PREFIXES)}"


def store_at(url: str, partitions: int = 1, **options: float) -> RedisStore:
    store = RedisStore(read_url(url), SPEC, options.get("timeout_s", PATIENT_S))
    store.begin("clicks", partitions)
    return store


def fold(store: RedisStore | LmdbStore, rows: list[dict], size: int, *, partition: int = 0) -> None:
    part = RedisPartition(store, partition) if isinstance(store, RedisStore) else store
    for first in range(0, len(rows), size):
        apply(part, SPEC, events_of(rows[first : first + size]), first)


def records(store: RedisStore | LmdbStore) -> dict:
    with store.read() as reading:
        found = {key: value for kind in (USER, SEEN, ITEMS) for key, value in reading.scan(kind)}
        return {b"position": int(reading.position), **found}


@pytest.fixture
def lmdb(tmp_path) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path / "lmdb", writable=True)
    yield store
    store.close()


def test_it_holds_the_same_bytes_as_lmdb_and_names_the_same_changes(url, lmdb):
    rows = rows_of(900)
    store = store_at(url)
    fold(lmdb, rows, 97)
    fold(store, rows, 64)
    assert records(store) == records(lmdb)
    with store.read() as remote, lmdb.read() as local:
        for index in (STOCK, COUNTED):
            assert set(remote.changed(index, None)) == set(local.changed(index, None))
            for since in (0, 450, 880, 899, 900):
                assert set(remote.changed(index, Positions.of([since]))) == set(local.changed(index, since))
        absent = [USER + b"nobody"]
        assert remote.get(absent) == local.get(absent) == [None]
        assert (remote.get([]), local.fresh_at) == ([], ALWAYS)
    # What comes again changes nothing, wherever it begins.
    fold(store, rows[:700], 33)
    assert records(store) == records(lmdb)
    store.close()


class Cut(RedisStore):
    """A store that goes away after some commands."""

    left = 0

    def ask(self, commands):
        if not self.left:
            raise StoreError("cut off")
        self.left -= 1
        return super().ask(commands)


def test_a_commit_that_is_cut_off_anywhere_is_made_whole_by_the_same_events(url, lmdb):
    rows = rows_of(400, seed=8)
    fold(lmdb, rows, 400)
    expected, rng = records(lmdb), random.Random(2)
    for cut in range(6):
        own = f"{url}x{cut}"
        store = store_at(own)
        torn = Cut(read_url(own), SPEC, PATIENT_S)
        torn.left = cut
        part = RedisPartition(torn, 0)
        try:
            apply(part, SPEC, events_of(rows[:300]), 0)
        except StoreError:
            with store.read() as reading:
                assert reading.position == 0
        # It comes again, in other batches.
        first = 0
        while first < len(rows):
            size = rng.randint(1, 120)
            apply(RedisPartition(store, 0), SPEC, events_of(rows[first : first + size]), first)
            first += size
        assert records(store) == expected, cut
        with store.read() as remote, lmdb.read() as local:
            for index in (STOCK, COUNTED):
                assert set(remote.changed(index, Positions.of([250]))) == set(local.changed(index, 250)), cut
        store.close()
        torn.close()


class Late:
    """A partition whose commit is held back."""

    def __init__(self, part: RedisPartition) -> None:
        self._part = part
        self.read = part.read
        self.held: tuple = ()

    def commit(self, writes, position) -> None:
        self.held = list(writes), position

    def finish(self) -> None:
        self._part.commit(*self.held)


def test_a_worker_that_wakes_up_late_takes_nothing_back(url, lmdb):
    rows = rows_of(500, seed=4)
    fold(lmdb, rows, 500)
    store = store_at(url)
    fold(store, rows[:100], 100)
    for stop in (180, 500):
        late = Late(RedisPartition(store, 0))
        apply(late, SPEC, events_of(rows[100:stop]), 100)
        apply(RedisPartition(store, 0), SPEC, events_of(rows[100:300]), 100)
        late.finish()
    fold(store, rows, 250)
    assert records(store) == records(lmdb)
    store.close()


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_partitions_change_no_user_and_no_count_of_an_item(url, lmdb, partitions):
    rows = [row for row in rows_of(800, seed=6) if row["kind"] != ITEM]
    fold(lmdb, rows, 800)
    store = store_at(url, partitions)
    for partition in range(partitions):
        fold(store, [row for row in rows if row["user"] % partitions == partition], 50, partition=partition)
    theirs, ours = records(store), records(lmdb)
    assert theirs.keys() == ours.keys() and theirs[b"position"] == len(rows)
    for kind, dtype in ((USER, user_record(SPEC)), (ITEMS, item_record(SPEC))):
        keys = sorted(key for key in ours if key[:1] == kind)
        pair = [unpack([found[key] for key in keys], dtype) for found in (theirs, ours)]
        for found in pair:
            # An event has another offset in another partition.
            found["next_offset"] = 0
            if kind == USER:
                found["slots"]["offset"] = 0
        assert pair[0].tobytes() == pair[1].tobytes()
    assert {key: theirs[key] for key in theirs if key[:1] == SEEN} == {
        key: ours[key] for key in ours if key[:1] == SEEN
    }
    store.close()


def test_parts_of_an_item_add_up_to_what_all_their_events_say(tmp_path):
    rng = random.Random(1)
    for trial in range(20):
        stores = [LmdbStore(tmp_path / f"{trial}-{place}", writable=True) for place in range(4)]
        rows = [row | {"user": place} for place, row in enumerate(rows_of(60, seed=trial)) if row["kind"] < ITEM]
        parts: list[list[dict]] = [[], [], []]
        for row in rows:
            rng.choice(parts).append(row)
        for store, own in zip(stores, [rows, *parts], strict=True):
            if own:
                apply(store, SPEC, events_of(own), 0)
        whole, *found = [records(store) for store in stores]
        keys = [key for key in whole if key[:1] == ITEMS]
        made = unpack(added_up([[part.get(key) for part in found] for key in keys], SPEC), item_record(SPEC))
        expected = unpack([whole[key] for key in keys], item_record(SPEC))
        assert made["newest"].tolist() == expected["newest"].tolist()
        assert made["tiles"].tolist() == expected["tiles"].tolist()
        for store in stores:
            store.close()
    assert added_up([[None, None]], SPEC) == [None]


def test_of_two_partitions_the_later_instant_says_the_stock(url):
    store = store_at(url, 2)
    for partition, at, value in ((0, 5, 0.0), (1, 9, 1.0), (0, 7, 0.0)):
        with store.read() as reading:
            first = reading.position.parts[partition]
        row = {"kind": ITEM, "item": 3, "at": at, "value": value}
        apply(RedisPartition(store, partition), SPEC, events_of([row]), first)
    state = LiveState(RedisHome(url, SPEC), SPEC)
    changes = state.stock_changes(-1, 0, 0)
    assert changes is not None
    assert (changes.items.tolist(), changes.at.tolist(), changes.stock.tolist()) == ([3], [9], [2])
    again = state.stock_changes(changes.position, changes.opened, 0)
    assert again is not None and (again.items.tolist(), again.is_whole) == ([], False)
    store.close()


def test_a_hot_item_is_one_write_a_batch_and_counts_exactly(url):
    num = 20_000
    rows = [
        {"user": place, "item": 7 if place % 2 else place, "at": 60 * SECOND, "event_id": b"%d" % place}
        for place in range(num)
    ]
    store, writes = store_at(url), 0
    part = RedisPartition(store, 0)
    for first in range(0, num, 4096):
        before = store.nodes.run
        asked: list = []
        store.nodes.run = lambda commands, before=before, asked=asked: asked.extend(commands) or before(commands)  # type: ignore[method-assign]
        apply(part, SPEC, events_of(rows[first : first + 4096]), first)
        store.nodes.run = before  # type: ignore[method-assign]
        hot = store.record_key(ITEMS + (7 ^ (-1 << 63)).to_bytes(8, "big", signed=True), 0)
        writes += sum(hot in command.arguments and command.arguments[0] == b"EVAL" for command in asked)
    with store.read() as reading:
        (record,) = unpack(reading.get([ITEMS + (7 ^ (-1 << 63)).to_bytes(8, "big", signed=True)]), item_record(SPEC))
    assert record["tiles"][1].sum() == num // 2
    assert writes == -(-num // 4096)
    store.close()


def test_the_state_of_another_topic_or_of_other_partitions_is_refused(url):
    store_at(url, 4).close()
    store_at(url, 4).close()
    for topic, partitions, words in (("clicks", 8, "has 8 partitions"), ("views", 4, "of the topic 'clicks'")):
        with pytest.raises(StoreError, match=words):
            RedisStore(read_url(url), SPEC, PATIENT_S).begin(topic, partitions)


def test_a_state_of_which_only_a_part_is_made_is_none_yet(url, monkeypatch):
    """A reader comes between the commands of a beginning, or its process is killed there."""
    store = RedisStore(read_url(url), SPEC, PATIENT_S)
    ask = store.ask
    for number in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(
                store, "ask", lambda commands, number=number: [ask([each]) for each in commands[:number]][:0]
            )
            with pytest.raises(IndexError):
                store.begin("clicks", 2)
        with store.read() as reading, pytest.raises(NoStateError, match="holds no state of this"):
            int(reading.position)
    store.begin("clicks", 2)
    with store.read() as reading:
        assert int(reading.position) == 0
    store.close()


def test_a_state_that_is_behind_is_stale(url):
    store = store_at(url, 2)
    fold(store, [{"user": 1, "item": 2}], 1)
    state = LiveState(RedisHome(url, SPEC), SPEC)
    (key,) = user_keys(np.array([1]))

    def is_stale() -> bool:
        users = state.users([key])
        assert users is not None and users.is_stale == state.is_stale()
        return users.is_stale

    assert is_stale()  # nobody has said anything
    store.say_fresh({0: time.time_ns()})
    assert is_stale()  # of the other partition
    store.say_fresh({1: time.time_ns()})
    assert not is_stale()
    store.say_fresh({1: time.time_ns() - int((SPEC.max_staleness_s + 1) * 1e9)})
    assert is_stale()
    store.close()


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """What this thread has asked of connections; the one that looks for a node which is away is another."""
    asked, own = [], threading.get_ident()
    for name in ("connect", "send_packed_command"):
        before = getattr(redis.connection.AbstractConnection, name)

        def counted(self: Any, *args: Any, name: str = name, before: Any = before, **options: Any) -> Any:
            if threading.get_ident() == own:
                asked.append(name)
            return before(self, *args, **options)

        monkeypatch.setattr(redis.connection.AbstractConnection, name, counted)
    return asked


@pytest.mark.service("valkey")
def test_a_server_that_is_away_or_hangs_costs_one_wait_and_comes_back_by_itself(tmp_path, asked):
    with valkey.one(tmp_path) as server:
        store = store_at(server.url)
        fold(store, [{"user": 1, "item": 2}], 1)
        state = LiveState(RedisHome(server.url, SPEC), SPEC)
        (key,) = user_keys(np.array([1]))
        for stop, go in (
            (server.kill, server.start),
            (lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
        ):
            assert _users(state, key).items.tolist() == [[2]]
            stop()
            asked.clear()
            assert state.users([key]) is None
            assert asked
            asked.clear()
            assert [state.users([key]) for _ in range(100)] == [None] * 100
            assert state.position() == -1 and state.count_changes(0, 1) is None
            # Whoever comes now asks nothing, and so waits for nothing.
            assert not asked
            go()
            assert _users(state, key).items.tolist() == [[2]]
        store.close()


def _users(state: LiveState, key: bytes) -> LiveUsers:
    """Of a state that may be looked for still."""
    until = time.monotonic() + 60
    while (users := state.users([key])) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    return users


@pytest.mark.service("valkey")
def test_a_damaged_record_is_no_error_of_a_request(tmp_path):
    with valkey.one(tmp_path) as server:
        store = store_at(server.url)
        fold(store, [{"user": 1, "item": 2}], 1)
        (key,) = user_keys(np.array([1]))
        state = LiveState(RedisHome(server.url, SPEC), SPEC)
        assert _users(state, key).items.tolist() == [[2]]
        server.client().set(store.record_key(USER + key), bytes(9))
        assert state.users([key]) is None
        fold(store, [{"user": 4, "item": 2}], 2)
        assert _users(state, user_keys(np.array([4]))[0]).items.tolist() == [[2]]
        store.close()


@pytest.mark.service("valkey")
def test_a_store_that_is_not_there_when_a_server_starts_is_found_later(tmp_path):
    with valkey.one(tmp_path) as server:
        server.kill()
        state = LiveState(RedisHome(server.url, SPEC), SPEC)
        assert state.position() == -1
        server.start()
        store = store_at(server.url)
        fold(store, [{"user": 1, "item": 2}], 1)
        until = time.monotonic() + 60
        while state.position() == -1:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert state.position() == 1
        store.close()


@pytest.mark.service("valkey")
def test_without_one_node_its_users_are_not_known_and_the_others_are(nodes):
    url = f"{nodes[0].url}?prefix=t{next(PREFIXES)}"
    store = store_at(url)
    fold(store, [{"user": user, "item": user + 1, "at": 1} for user in range(90)], 90)
    state = LiveState(RedisHome(url, SPEC), SPEC)
    keys = user_keys(np.arange(90))
    slots = store.nodes._client.keyslot
    positions = slots(store.positions_key) * 3 // 16384
    lost = (positions + 1) % 3
    of_node = [user for user, key in enumerate(keys) if slots(store.record_key(USER + key)) * 3 // 16384 == lost]
    assert 10 < len(of_node) < 50
    nodes[lost].kill()
    users = state.users(keys)
    assert users is not None and users.away.tolist() == of_node
    assert users.known.tolist() == [user for user in range(90) if user not in of_node]
    with pytest.raises(StoreError, match="away"):
        fold(store, [{"user": user, "item": 1, "at": 2} for user in range(90)], 90)
    nodes[lost].start()
    until = time.monotonic() + 60
    while (users := state.users(keys)) is None or len(users.away):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert users.items[:, 0].tolist() == list(range(1, 91))
    while True:
        try:
            apply_at(
                *(RedisPartition(store, 0), SPEC, events_of([{"user": 1, "item": 9, "at": 3}])),
                *(np.array([90]), 91),
            )
            break
        except StoreError:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert state.position() == 91
    store.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://host", "must begin with redis:// or rediss://"),
        ("redis://", "name a host"),
        ("redis://a,,b", "name a host"),
        ("redis://user:geheim@host?prefix={x}", "may have letters"),
        ("redis://user:geheim@[host", "cannot be read"),
        ("redis://:ge/geheim@host:6379", "as %2F %3F %23"),
        ("redis://:geheim#x@host:6379", "as %2F %3F %23"),
        ("redis://:ge?geheim=1@host:6379", "as %2F %3F %23"),
        ("redis://:geheim", "must begin with redis"),
        ("redis://host:geheim", "must begin with redis"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(text, words):
    with pytest.raises(StoreError, match=words) as caught:
        read_url(text)
    assert "geheim" not in str(caught.value)


def test_a_url_is_shown_without_user_password_and_options():
    url = read_url("rediss://user:geheim@one:1,two:2/3?prefix=shop&ssl_cert_reqs=none")
    assert (url.shown, url.prefix) == ("rediss://one:1,two:2/3", "shop")
    assert url.each[1] == "rediss://user:geheim@two:2/3?ssl_cert_reqs=none"


@pytest.mark.service("valkey")
def test_a_wrong_password_is_said_without_it(server):
    url = server.url.replace("redis://", "redis://user:geheim@")
    with pytest.raises(StoreError) as caught:
        store_at(url)
    assert "geheim" not in str(caught.value) and "away" in str(caught.value)
