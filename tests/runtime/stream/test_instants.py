"""What a state says at an instant: at the edges of hops, when it has expired, after clocks went back, shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.stream.events import Events
from runtime.stream.features import COUNT, SINCE, LiveFeature, of_records
from runtime.stream.folder import state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.keys import user_keys
from runtime.stream.record import item_record, unpack, user_record
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import read_url
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply
from runtime.stream.store import SEEN, USER, LmdbStore, Store, item_key
from runtime.stream.windows import Window, hop_ns, oldest_counted
from tests.runtime.stream import valkey
from tests.runtime.stream.test_fold import events_of, states

SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3600 * 10**9
START = 1_700_000_000 * SECOND
WINDOWS = (Window("click", 3600), Window("any", 86_400))
SPEC = StreamSpec(
    "INT64", "INT64", ("click", "buy"), history_length=4, dedupe_last=64,
    user_windows=WINDOWS, item_windows=WINDOWS, since=("any",),
)  # fmt: skip
FEATURES = (
    LiveFeature("clicks", COUNT, (WINDOWS[0],), ttl_s=3600),
    LiveFeature("all", COUNT, (WINDOWS[1],)),
    LiveFeature("idle", SINCE, label="any", ttl_s=3600),
)


def of_user(store: Store, user: int, t: int) -> list[float]:
    with store.read() as reading:
        records = unpack(reading.get([USER + user_keys(np.array([user]))[0]]), user_record(SPEC))
    return [float(of_records(feature, records, WINDOWS, ("any",), np.array([t]))[0]) for feature in FEATURES]


def of_item(store: Store, item: int, t: int) -> list[float]:
    with store.read() as reading:
        records = unpack(reading.get([item_key(item)]), item_record(SPEC))
    return [float(of_records(feature, records, WINDOWS, (), np.array([t]))[0]) for feature in (FEATURES[1],)]


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.service("valkey"))])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    """A function that opens the same state again and again."""
    if request.param == "lmdb":
        stores: list[LmdbStore] = []

        def again() -> Store:
            while stores:
                stores.pop().close()
            stores.append(LmdbStore(tmp_path / "state", writable=True))
            return stores[0]

        yield again
        stores.pop().close()
        return
    with valkey.one(tmp_path) as server:

        def on_redis() -> Store:
            store = RedisStore(read_url(server.url), SPEC, 5.0)
            store.begin("clicks", 1)
            return RedisPartition(store, 0)

        yield on_redis


def test_a_value_expires_by_the_users_latest_event_after_a_restart_too(opened: object) -> None:
    apply(opened(), SPEC, events_of([{"user": 1, "item": 5, "at": START}]), 0)  # type: ignore[operator]
    for _ in range(2):
        store = opened()  # type: ignore[operator]
        assert of_user(store, 1, START + 59 * MINUTE) == [1.0, 1.0, 59 * 60.0]
        expired = of_user(store, 1, START + 61 * MINUTE)
        assert np.isnan(expired[0]) and np.isnan(expired[2]) and expired[1] == 1.0


def test_before_and_after_the_edge_of_a_hop_user_and_item_count_what_brute_force_counts(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    at = START + np.sort(random.integers(0, 30 * 3600, 400)) * SECOND
    store = LmdbStore(tmp_path / "state", writable=True)
    apply(store, SPEC, events_of([{"user": 1, "item": 5, "at": int(t), "event_id": b"%d" % t} for t in at]), 0)
    distinct = np.unique(at)
    for window, place in ((WINDOWS[0], 0), (WINDOWS[1], 1)):
        hop = hop_ns(window)
        for edge in (int(distinct[-1]) // hop + np.arange(1, 9)) * hop:
            for t in (int(edge) - 10**6, int(edge), int(edge) + 10**6):
                lower = (t - window.seconds * SECOND) // hop * hop
                right = float((distinct >= lower).sum())
                found = of_user(store, 1, t)
                assert found[place] == right or np.isnan(found[place])
                assert place == 0 or of_item(store, 5, t) == [right]
                # No window that is asked for then or later counts an event from before.
                assert oldest_counted((window,), t) == lower
    store.close()
    assert oldest_counted(WINDOWS, START) <= START - 86_400 * SECOND
    assert oldest_counted((), START) == -(2**63)


def test_the_first_event_of_a_user_counts_from_its_acknowledgement_on(tmp_path: Path) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    folder = state_folder(tmp_path / "live", SPEC.state_version)
    reader = LmdbStore(folder, writable=False)
    assert of_user(reader, 1, START)[:2] == [0.0, 0.0]
    # Two of one instant follow their offsets.
    live.accept(events_of([{"user": 1, "item": 9, "at": START}, {"user": 1, "item": 3, "at": START}]), START)
    assert of_user(reader, 1, START)[:2] == [2.0, 2.0]
    with reader.read() as reading:
        (record,) = unpack(reading.get([USER + user_keys(np.array([1]))[0]]), user_record(SPEC))
    assert record["slots"]["item"][: record["num_history"]].tolist() == [3, 9]  # the latest first
    live.close()


def test_when_the_servers_clock_goes_back_offsets_and_windows_go_on(tmp_path: Path) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    for number, arrived in enumerate((START, START - HOUR, START - HOUR + SECOND)):
        event = events_of([{"user": 1, "item": number, "at": arrived, "event_id": b"%d" % number}])
        status, offsets = live.accept(event, arrived)
        assert (status.tolist(), offsets.tolist()) == ([1], [number])
    live.close()
    again = Ingest(tmp_path / "live", SPEC)
    assert again.accept(events_of([{"user": 2, "item": 7, "at": START}]), START - 2 * HOUR)[1].tolist() == [3]
    again.close()
    store = LmdbStore(state_folder(tmp_path / "live", SPEC.state_version), writable=False)
    assert of_user(store, 1, START) == [3.0, 3.0, 0.0]
    store.close()


def test_a_day_that_is_shuffled_makes_the_records_of_the_day_in_order(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    rows = [
        {"user": int(random.integers(6)), "item": int(random.integers(9)), "at": START + number * 173 * SECOND}
        | {"label": str(random.choice(["click", "buy"])), "event_id": b"%d" % number}
        for number in range(500)
    ]
    by_order = []
    for name, order in (("in order", np.arange(500)), ("shuffled", random.permutation(500))):
        store = LmdbStore(tmp_path / name, writable=True)
        for part in np.array_split(order, 7 if name == "in order" else 43):
            apply(store, SPEC, events_of([rows[place] for place in part]), int(store_position(store)))
        found = states(store)
        store.close()
        users = unpack([v for k, v in found.items() if k[:1] == USER], user_record(SPEC))
        seen = {k: v for k, v in found.items() if k[:1] == SEEN}
        items = {k: v for k, v in found.items() if k[:1] == b"i"}
        kept = ("num_events", "num_history", "last_at", "newest", "tiles", "since")
        history = [[(slot["at"], slot["item"]) for slot in user["slots"]] for user in users]
        by_order.append(([[user[n].tolist() for n in kept] for user in users], history, seen.keys(), items.keys()))
    assert by_order[0] == by_order[1]


def store_position(store: LmdbStore) -> int:
    with store.read() as reading:
        return reading.position


def test_an_event_that_is_older_than_every_window_moves_no_value(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "state", writable=True)
    apply(store, SPEC, events_of([{"user": 1, "item": 5, "at": START}]), 0)
    before = of_user(store, 1, START), of_item(store, 5, START)
    old: Events = events_of([{"user": 1, "item": 5, "at": oldest_counted(WINDOWS, START) - 1}])
    apply(store, SPEC, old, 1)
    assert (of_user(store, 1, START), of_item(store, 5, START)) == before
    store.close()
