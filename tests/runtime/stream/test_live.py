"""The chain with a live state against the chain without one that is told the same, and against brute force."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig, FilterRule
from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.sources.base import QueriedUser, Source
from runtime.spec import ChainSpec, LiveSpec
from runtime.stream.events import FORGET, IMPRESSION
from runtime.stream.folder import FOLDER_VARIABLE
from runtime.stream.keys import item_keys
from runtime.stream.live import AWAY, live_state, without_live_state
from runtime.stream.record import IN_STOCK, OUT_OF_STOCK
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import L, item_id, make_run, user_id
from tests.runtime.stream.writer import Writer, stock
from workflows.stream.config import StreamConfig

SLATE = ("item_id", "score", "num_items", "path")
NOBODY = 10_000
SECOND = 1_000_000_000


class World:
    """A run and its chain, with a live state and without."""

    def __init__(self, root: Path, *, rules: tuple = (), chain: ChainConfig | None = None, **variant: Any) -> None:
        self.root, self.text_ids = root, variant.get("text_ids", False)
        self.run, self.config = make_run(root / "run", chain=chain, num_users=20, num_items=120, **variant)
        self.live_config = msgspec.structs.replace(self.config, stream=StreamConfig())
        compile_chain(self.run, self.config, root / "plain", "serve")
        compile_chain(self.run, self.live_config, root / "live", "serve")
        self.plain = Chain.load(root / "plain")
        self.spec = ChainSpec.load(root / "live")
        self.rules = rules

    @property
    def stream(self):
        assert self.spec.live is not None
        return self.spec.live.stream

    def oracle(self) -> Oracle:
        return Oracle(self.root / "run", self.config.chain, "serve", self.rules)

    def open(self, **live: Any) -> Chain:
        """The chain, with another cut than its export's where it is given."""
        assert self.spec.live is not None
        return Chain(self.root / "live", replace(self.spec, live=replace(self.spec.live, **live)))

    def user(self, *rows: int) -> np.ndarray:
        return np.array([[user_id(row, self.text_ids)] for row in rows], object if self.text_ids else np.int64)

    def items(self, *rows: int) -> list:
        return [item_id(row, self.text_ids) for row in rows]

    def array(self, *rows: int) -> np.ndarray:
        return np.array([self.items(*rows)], object if self.text_ids else np.int64)

    def clicks(self, user: int, *items: int, at: int = 1) -> list[dict]:
        """Interactions, a nanosecond apart."""
        who, raw = user_id(user, self.text_ids), self.items(*items)
        return [{"user": who, "item": item, "at": at + place} for place, item in enumerate(raw)]

    def stock(self, item: int, value: float, at: int = 1) -> dict:
        return stock(item_id(item, self.text_ids), value, at)

    def told(self, user: int, *recent: int, **request: np.ndarray) -> dict:
        """What the chain without a live state answers when the request names the items."""
        named = {"recent_item_ids": self.array(*recent)} if recent else {}
        return self.plain.recommend({"user_id": self.user(user), **named, **request})

    def agrees(self, chain: Chain, user: int, *recent: int, given: tuple[int, ...] = (), **request: np.ndarray) -> dict:
        named = {"recent_item_ids": self.array(*given)} if given else {}
        answer = chain.recommend({"user_id": self.user(user), **named, **request})
        expected = self.told(user, *recent, **request)
        assert {name: answer[name].tolist() for name in SLATE} == {n: v.tolist() for n, v in expected.items()}
        return answer

    def agrees_with(self, oracle: Oracle, chain: Chain, user: int, **given: Any) -> dict:
        request = {"recent_item_ids": self.array(*given["given"])} if given.get("given") else {}
        answer = chain.recommend({"user_id": self.user(user), **request})
        recent = self.items(*given.get("recent", ()))
        items, scores, path = oracle.slate(user_id(user, self.text_ids), recent=recent)
        count = int(answer["num_items"][0, 0])
        assert answer["item_id"][0, :count].tolist() == items
        np.testing.assert_allclose(answer["score"][0, :count], scores, atol=2e-5)
        assert answer["path"][0, 0].decode() == path
        return answer


@pytest.fixture(scope="module", params=[False, True], ids=["int", "text"])
def world(request, tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("live"), text_ids=request.param, further=True)


@pytest.fixture
def writer(world, tmp_path, monkeypatch) -> Iterator[Writer]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "events"))
    with Writer(tmp_path / "events", world.stream) as writer:
        yield writer


def test_live_interactions_follow_the_stored_history_in_the_order_of_their_instants(world, writer):
    chain = world.open()
    writer.send(*world.clicks(5, 20), *world.clicks(NOBODY, 33))
    assert world.agrees(chain, 5, 20)["stream_offset"].tolist() == [[2]]
    # Of two that came in the other order; and an item that the catalogue lacks, as a request may name it.
    writer.send(*world.clicks(5, 22, at=9), *world.clicks(5, 21, NOBODY, at=4))
    for user, recent in ((5, (20, 21, NOBODY, 22)), (NOBODY, (33,)), (2, ()), (NOBODY + 1, ())):
        answer = world.agrees(chain, user, *recent)
        world.agrees_with(world.oracle(), chain, user, recent=recent)
        assert not set(answer["item_id"][0].tolist()) & set(world.items(*recent))
    assert world.agrees(chain, NOBODY, 33)["path"].tolist() == [[b"history"]]
    # A request's own come after them.
    world.agrees(chain, 5, 20, 21, NOBODY, 22, 40, 41, given=(40, 41))


def test_the_first_click_of_an_unknown_user_on_an_unknown_item_says_as_little_as_a_request_that_names_it(world, writer):
    chain = world.open()
    writer.send(*world.clicks(NOBODY, NOBODY))
    assert world.agrees(chain, NOBODY, NOBODY)["path"].tolist() == [[b"popularity"]]
    phone = {"device": np.array([[b"phone"]], object)}
    assert world.agrees(chain, NOBODY, NOBODY, **phone)["path"].tolist() == [[b"context"]]


# Items that the stream knows, that the request names, and that count.
REPEATS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((7, 8, 9), (8, 9), (7, 8, 9)),
    ((7, 8, 9), (7, 8, 9), (7, 8, 9)),
    ((7, 8, 9), (7,), (8, 9, 7)),
    ((7, 8, 7), (7,), (7, 8, 7)),
    ((7, 8, 7), (7, 7), (8, 7, 7)),
    ((7, 8), (9, 7, 9), (8, 9, 7, 9)),
    ((NOBODY, 8), (NOBODY, 8), (NOBODY, 8)),
    ((NOBODY + 1, 8), (NOBODY, 8), (NOBODY + 1, NOBODY, 8)),
)


def test_an_event_that_the_request_repeats_counts_once(world, writer):
    chain = world.open()
    for number, (live, given, expected) in enumerate(REPEATS):
        for user in (8 + number, NOBODY + number):
            writer.send(*world.clicks(user, *live))
            world.agrees(chain, user, *expected, given=given)


def test_a_request_padded_for_another_user_repeats_nothing(world, writer):
    padding = b"" if world.text_ids else -1
    writer.send(*world.clicks(4, 7, 8), *world.clicks(5, 9))
    recent = np.array([[*world.items(8, 11)], [world.items(30)[0], padding]], object if world.text_ids else np.int64)
    answer = world.open().recommend({"user_id": world.user(4, 5), "recent_item_ids": recent})
    for place, expected in enumerate((world.told(4, 7, 8, 11), world.told(5, 9, 30))):
        assert [answer[name][place].tolist() for name in SLATE] == [expected[name][0].tolist() for name in SLATE]


def test_what_the_export_knows_by_offset_or_instant_is_not_added_again_but_seen(world, writer):
    writer.send(*world.clicks(NOBODY, 10, 11, 12, 13, at=100))
    another = {"known_offset": 2, "known_log": "another"}
    for cut, kept in (
        ({"known_offset": 2}, (12, 13)),
        (another, (10, 11, 12, 13)),
        ({"known_at": 100}, (11, 12, 13)),
        ({"known_at": 103}, ()),
    ):
        chain = world.open(**cut)
        oracle = world.oracle()
        oracle.users.append(user_id(NOBODY, world.text_ids))
        answer = chain.recommend({"user_id": world.user(NOBODY), "slate_size": np.array([[20]], np.int32)})
        assert not set(answer["item_id"][0].tolist()) & set(world.items(10, 11, 12, 13))
        codes = chain.nodes[0].step.encode(chain.nodes[0].step.parse({"user_id": world.user(NOBODY)}))
        expected = world.plain.nodes[0].step
        told = {"user_id": world.user(NOBODY), **({"recent_item_ids": world.array(*kept)} if kept else {})}
        name = "encoded_recent_item_ids"
        assert codes[name].tolist() == expected.encode(expected.parse(told))[name].tolist()
        assert codes["path_code"].tolist() == expected.encode(expected.parse(told))["path_code"].tolist()


def test_the_cut_of_an_export_of_tables_is_their_latest_instant(world):
    assert world.spec.live == LiveSpec(world.stream, known_offset=0, known_at=0)
    folder = world.root / "run/data"
    info = msgspec.json.decode((folder / "manifest.json").read_bytes())["info"]
    assert info["timestamp_unit"] == "s"


def test_items_that_left_the_record_are_seen_and_no_more(world, writer):
    assert world.stream.history_length == L
    items = tuple(range(30, 30 + L + 5))
    writer.send(*world.clicks(6, *items), *world.clicks(NOBODY, *items))
    chain = world.open()
    for user in (6, NOBODY):
        oracle = world.oracle()
        if user == NOBODY:
            # Brute force knows further seen items of a known user alone.
            answer = chain.recommend({"user_id": world.user(user), "slate_size": np.array([[20]], np.int32)})
            assert not set(answer["item_id"][0].tolist()) & set(world.items(*items))
            continue
        oracle.seen[user] |= set(items[:5])
        world.agrees_with(oracle, chain, user, recent=items[5:])


def found_by(chain: Chain, world: World, user: int) -> dict[str, set[int]]:
    """The item rows that each source gives."""
    arrays: dict[str, Any] = {}
    chain.nodes[0].encode(arrays, chain.nodes[0].step.parse({"user_id": world.user(user)}))
    for node in chain.nodes[1:]:
        node.run(arrays)
    names = [name.removesuffix("_items") for name in arrays if name.endswith("_items") and name != "num_items"]
    return {name: {row for row in arrays[f"{name}_items"][0].tolist() if row >= 0} for name in names}


@pytest.mark.parametrize("filter_seen", [True, False])
def test_stock_goes_out_and_comes_back_in_every_source_and_on_the_popularity_path(tmp_path, monkeypatch, filter_seen):
    rule = FilterRule(column="price", op="<=", value=0.8)
    config = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, rules=[rule], filter_seen=filter_seen)
    world = World(tmp_path, chain=config, rules=(lambda category, price: price <= 0.8,), further=True)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "events"))
    raw = np.load(tmp_path / "live/rules.npy"), np.load(tmp_path / "live/eligible.npy")
    allowed, eligible = (np.unpackbits(bits, bitorder="little", count=120).astype(bool) for bits in raw)
    sold_out = np.flatnonzero(allowed & ~eligible).tolist()
    chain = world.open()
    before = {user: found_by(chain, world, user) for user in (0, 7, NOBODY)}
    sources = {"towers", "neighbours", "popularity", "trending", "latest", "content"}
    assert before[7].keys() == sources
    with Writer(tmp_path / "events", world.stream) as writer:
        given = {name: min(rows) for name, rows in before[7].items() if rows}
        given |= {"popular": min(before[NOBODY]["popularity"])}
        assert sources - given.keys() <= {"popularity"}
        gone = sorted(set(given.values()))
        oracle = world.oracle()
        for number, item in enumerate(gone):
            writer.send(world.stock(item, 0, at=number + 1))
            oracle.eligible.remove(item)
            for user in (0, 7, NOBODY):
                assert not any(item in rows for rows in found_by(chain, world, user).values())
                world.agrees_with(oracle, chain, user)
        # Back again, those too that the export had out of stock; what the rules forbid stays away.
        forbidden = np.flatnonzero(~allowed).tolist()
        writer.send(*(world.stock(item, 1, at=99) for item in (*gone, *sold_out, *forbidden)))
        oracle.eligible = sorted({*oracle.eligible, *gone, *sold_out})
        assert sold_out and forbidden
        for user in (0, 7, 8, NOBODY):
            world.agrees_with(oracle, chain, user)
        everything = chain.recommend({"user_id": world.user(NOBODY), "slate_size": np.array([[20]], np.int32)})
        most = Oracle.slate(oracle, user_id(NOBODY, False), size=20)[0]
        assert everything["item_id"][0].tolist() == most
        # Of two events the one with the later instant holds; one that says nothing of the stock changes nothing.
        writer.send(world.stock(gone[0], 0, at=50), world.stock(gone[0], float("nan"), at=200))
        world.agrees_with(oracle, chain, NOBODY)
        # A chain that is opened later, another version say, sees the same; without the state, the export's.
        world.agrees_with(oracle, world.open(), NOBODY)
        world.agrees_with(world.oracle(), world.open(known_at=300), NOBODY)
        # All of the best sellers out: the slate goes on further down.
        order = [item for item in np.load(tmp_path / "live/popular.npy").tolist() if item in oracle.eligible]
        writer.send(*(world.stock(item, 0, at=300) for item in order[:-3]))
        answer = chain.recommend({"user_id": world.user(NOBODY)})
        assert answer["item_id"][0, :3].tolist() == world.items(*order[-3:])
        assert answer["num_items"].tolist() == [[3]]
        writer.send(*(world.stock(item, 0, at=400) for item in order))
        for user in (0, 7, NOBODY):
            assert chain.recommend({"user_id": world.user(user)})["num_items"].tolist() == [[0]]


def test_any_sequence_of_stock_events_leaves_every_chain_with_the_stock_that_holds(world, writer):
    rng = np.random.default_rng(5)
    held: dict[int, tuple] = {}
    chain, oracle = world.open(), world.oracle()
    eligible = set(oracle.eligible)
    for _ in range(25):
        rows = []
        for offset in range(writer.position, writer.position + int(rng.integers(1, 9))):
            item, value, at = int(rng.integers(0, 121)), int(rng.integers(0, 2)), int(rng.integers(1, 30))
            rows.append(world.stock(item if item < 120 else NOBODY, value, at))
            if item < 120:
                held[item] = max(held.get(item, ((0, 0), 0)), ((at, offset), value))
        writer.send(*rows, *world.clicks(NOBODY + int(rng.integers(1, 99)), 3))
        said = {item: value for item, (_, value) in held.items()}
        oracle.eligible = sorted({i for i in range(120) if said.get(i, i in eligible)})
        for user in (7, NOBODY):
            world.agrees_with(oracle, chain, user)
    world.agrees_with(oracle, world.open(), 7)


def test_without_a_state_the_slates_are_those_of_the_export_and_with_one_again_they_are_live(
    world, tmp_path, monkeypatch
):
    events = tmp_path / "events"
    monkeypatch.setenv(FOLDER_VARIABLE, str(events))
    chain = world.open()
    away = {"stream_offset": [[AWAY]], "state_age_ms": [[AWAY]]}

    def check(is_there: bool, *recent: int, position: int = 0) -> None:
        answer = world.agrees(chain, 5, *recent)
        if is_there:
            assert answer["stream_offset"].tolist() == [[position]]
        else:
            assert {name: answer[name].tolist() for name in away} == away

    check(False)
    with Writer(events, world.stream) as writer:
        writer.send(*world.clicks(5, 20), world.stock(7, 0))
        check(True, 20, position=2)
        assert 7 not in found_by(chain, world, NOBODY)["popularity"]
    # Taken away, unreadable, and another one in its place.
    shutil.move(events, tmp_path / "elsewhere")
    check(False)
    writer.folder.mkdir(parents=True)
    (writer.folder / "data.mdb").write_bytes(b"no database" * 1000)
    check(False)
    shutil.rmtree(events)
    time.sleep(0.11)
    with Writer(events, world.stream) as writer:
        writer.send(*world.clicks(5, 30, 31, 32))
        check(True, 30, 31, 32, position=3)
        in_stock = world.told(NOBODY, slate_size=np.array([[20]], np.int32))["item_id"].tolist()
        assert world.agrees(chain, NOBODY, slate_size=np.array([[20]], np.int32))["item_id"].tolist() == in_stock


def test_a_chain_that_is_opened_in_the_block_sees_no_live_state(world, writer):
    writer.send(*world.clicks(5, 20))
    with without_live_state():
        hidden = world.open()
    assert world.agrees(hidden, 5)["stream_offset"].tolist() == [[AWAY]]
    assert world.agrees(world.open(), 5, 20)["stream_offset"].tolist() == [[1]]


def test_the_age_is_the_time_since_the_users_last_event(world, writer):
    now = time.time_ns()
    writer.send(*world.clicks(5, 20, at=now - 7 * SECOND), *world.clicks(6, 20, at=now + 3600 * SECOND))
    answer = world.open().recommend({"user_id": world.user(5, 6, 7)})
    took_ms = (time.time_ns() - now) // 10**6
    age = answer["state_age_ms"][:, 0].tolist()
    assert 7000 <= age[0] <= 7000 + took_ms
    assert age[1:] == [0, -1]
    assert answer["stream_offset"].tolist() == [[2]] * 3


class Clock:
    """Goes on while somebody sleeps, and never else; `while_asleep` is called at each sleep."""

    def __init__(self, while_asleep: Callable[[], None]) -> None:
        self.now, self._while_asleep = 0.0, while_asleep

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._while_asleep()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def test_a_request_waits_for_its_own_events_but_not_for_long(world, writer, monkeypatch):
    chain = world.open()
    writer.send(*world.clicks(6, 1))
    comes = iter([world.clicks(5, 20)])
    clock = Clock(lambda: writer.send(*next(comes)))
    monkeypatch.setattr("runtime.stream.recent.time", clock)
    answer = chain.recommend({"user_id": world.user(5), "min_offset": np.array([[2]])})
    assert clock.now > 0
    assert answer["stream_offset"].tolist() == [[2]]
    assert {name: answer[name].tolist() for name in SLATE} == {n: v.tolist() for n, v in world.told(5, 20).items()}
    clock = Clock(lambda: None)
    monkeypatch.setattr("runtime.stream.recent.time", clock)
    answer = chain.recommend({"user_id": world.user(5), "min_offset": np.array([[2**62]])})
    assert 0.05 <= clock.now < 0.06
    assert answer["stream_offset"].tolist() == [[2]]


def test_requests_answered_together_equal_requests_answered_alone(world, writer):
    chain = world.open()
    writer.send(
        *world.clicks(3, *range(40, 40 + L + 3)), *world.clicks(NOBODY, 50), *world.clicks(8, 60, 61), world.stock(9, 0)
    )
    requests = [
        {"user_id": world.user(3, 4, NOBODY)},
        {"user_id": world.user(NOBODY), "slate_size": np.array([[3]], np.int32)},
        {"user_id": world.user(8), "recent_item_ids": world.array(61, 62, NOBODY)},
        {"user_id": world.user(8, 1), "recent_item_ids": np.repeat(world.array(60), 2, 0)},
        {"user_id": world.user(NOBODY + 1), "min_offset": np.array([[3]])},
    ]
    alone = [chain.recommend(request) for request in requests]
    for answer, expected in zip(chain.recommend_many(requests), alone, strict=True):
        assert isinstance(answer, dict)
        for name in (*SLATE, "stream_offset"):
            assert answer[name].tolist() == expected[name].tolist()


def test_ids_that_no_event_can_have_know_nothing(world, writer):
    chain = world.open()
    writer.send(*world.clicks(5, 20), {"user": b"-1" if world.text_ids else -1, "item": world.items(20)[0]})
    if world.text_ids:
        users = np.array([[b"x" * 600], [b""], ["üser-00005"]], object)
        assert (chain.recommend({"user_id": users})["state_age_ms"][:, 0] >= 0).tolist() == [False, False, True]
    else:
        users = np.array([[2**64 - 1], [user_id(5, False)]], np.uint64)
        assert (chain.recommend({"user_id": users})["state_age_ms"][:, 0] >= 0).tolist() == [False, True]


class Everything(Source):
    """A source of a user's own, which knows nothing of stock."""

    name = "everything"

    def find(self, user: QueriedUser, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(120)
        return rows, np.ones(len(rows), np.float32)


def test_a_source_that_knows_no_stock_gives_nothing_that_is_out_of_it(world, writer):
    chain, source = world.open(), Everything()
    source.open(world.root / "live", world.spec)
    writer.send(world.stock(3, 0), world.stock(4, 0), world.stock(4, 1, at=2))
    arrays: dict[str, Any] = {}
    chain.nodes[0].encode(arrays, chain.nodes[0].step.parse({"user_id": world.user(7)}))
    found = set(
        source({tensor.name: arrays[tensor.name] for tensor in source.inputs(world.spec)})["everything_items"][0]
    )
    assert found - {-1} == {*world.oracle().eligible, 4} - {3}


def test_a_writer_that_is_killed_takes_nothing_away(world, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "events"))
    chain = world.open()
    with Writer(tmp_path / "events", world.stream) as writer:
        writer.send(*world.clicks(5, 20))
        writer.kill()
        assert world.agrees(chain, 5, 20)["stream_offset"].tolist() == [[1]]
    with Writer(tmp_path / "events", world.stream) as again:
        again.position = 1
        again.send(*world.clicks(5, 21, at=2))
        assert world.agrees(chain, 5, 20, 21)["stream_offset"].tolist() == [[2]]


def test_the_stock_can_be_read_from_an_offset_on(world, writer):
    writer.send(world.stock(3, 0, at=5), *world.clicks(5, 20), world.stock(4, 0, at=5), world.stock(3, 1, at=6))
    state = live_state(world.stream)

    def changed(since: int) -> set[tuple]:
        changes = state.stock_changes(since, opened, 0)
        assert changes is not None and changes.position == writer.position
        return set(zip(changes.items.tolist(), changes.stock.tolist(), strict=True))

    whole = state.stock_changes(AWAY, 0, 0)
    assert whole is not None and whole.is_whole
    opened = whole.opened
    three, four = item_keys(np.array(world.items(3, 4), object if world.text_ids else np.int64)).tolist()
    assert changed(AWAY) == changed(0) == changed(2) == {(four, OUT_OF_STOCK), (three, IN_STOCK)}
    assert changed(3) == {(three, IN_STOCK)}
    # An earlier instant changes nothing, and is not found; the same again neither.
    writer.send(world.stock(4, 1, at=4), world.stock(3, 0, at=1), world.stock(4, float("nan"), at=99))
    assert changed(4) == set()
    writer.send(world.stock(4, 1, at=7))
    assert changed(3) == {(three, IN_STOCK), (four, IN_STOCK)}
    assert changed(4) == {(four, IN_STOCK)}


def test_what_was_shown_is_no_history_and_who_is_forgotten_has_none(world, writer):
    chain, (item,) = world.open(), world.items(20)
    who = user_id(NOBODY, world.text_ids)
    writer.send({"kind": IMPRESSION, "user": who, "item": item, "at": 5})
    answer = world.agrees(chain, NOBODY)
    assert answer["path"].tolist() == [[b"popularity"]] and answer["state_age_ms"][0, 0] >= 0
    writer.send(*world.clicks(NOBODY, *range(30, 30 + L + 3)), *world.clicks(5, 21))
    assert chain.recommend({"user_id": world.user(NOBODY)})["path"].tolist() == [[b"history"]]
    writer.send({"kind": FORGET, "user": who})
    answer = world.agrees(chain, NOBODY)
    assert answer["state_age_ms"].tolist() == [[-1]]
    writer.send(*world.clicks(NOBODY, 22))
    world.agrees(chain, NOBODY, 22)
    world.agrees(chain, 5, 21)


def test_an_item_out_of_stock_still_says_what_its_user_likes(world, writer):
    writer.send(*world.clicks(NOBODY, 20, 21), world.stock(20, 0), world.stock(21, 0))
    oracle = world.oracle()
    oracle.eligible = [row for row in oracle.eligible if row not in (20, 21)]
    world.agrees_with(oracle, world.open(), NOBODY, recent=(20, 21))
