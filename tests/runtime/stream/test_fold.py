"""The fold against a record kept in plain Python, event by event."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, Events
from runtime.stream.keys import item_keys, user_keys
from runtime.stream.record import IN_STOCK, OUT_OF_STOCK, item_record, unpack, user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply
from runtime.stream.store import SEEN, USER, LmdbStore, item_key
from runtime.stream.windows import Window, values

H, D = 4, 3
WINDOWS = (Window("click", 60), Window("any", 120), Window("impression", 600), Window("buy", 60))
SPEC = StreamSpec(
    "INT64", "INT64", ("click", "buy"), history_length=H, dedupe_last=D,
    user_windows=WINDOWS, item_windows=WINDOWS, since=("any", "buy"),
)  # fmt: skip
SECOND = 10**9
LABELS = ("", "click", "buy", "hover")


def events_of(rows: list[dict]) -> Events:
    """Rows with the keys of Events; absent ones have a plain value."""
    text = np.empty(len(rows), object)
    text[:] = [row.get("event_id", b"") for row in rows]
    return Events(
        kind=np.array([row.get("kind", INTERACTION) for row in rows], np.uint8),
        user=np.array([row.get("user", 0) for row in rows], np.int64),
        item=np.array([row.get("item", 0) for row in rows], np.int64),
        at=np.array([row.get("at", 0) for row in rows], np.int64),
        label=np.array([LABELS.index(row.get("label", "click")) for row in rows], np.uint8),
        value=np.array([row.get("value", 1.0) for row in rows], np.float32),
        event_id=text,
        extra=np.array([b""] * len(rows), object),
        labels=LABELS,
    )


class Plain:
    """The meaning of the records, one event at a time."""

    def __init__(self) -> None:
        self.ids: dict[int, list] = {}
        self.interactions: dict[int, list] = {}
        self.counts: dict[int, int] = {}
        self.stock: dict[int, tuple] = {}
        # (user, item, label, at) of what windows count.
        self.counted: list[tuple] = []
        self.of_users: list[tuple] = []

    def add(self, offset: int, row: dict) -> int:
        user, item, at = row.get("user", 0), row.get("item", 0), row.get("at", 0)
        kind, label = row.get("kind", INTERACTION), row.get("label", "click")
        if kind == ITEM:
            if not np.isnan(row["value"]):
                self.stock[item] = max(self.stock.get(item, ((-(2**62), -1), 0.0)), ((at, offset), row["value"]))
            return 1
        if kind == FORGET:
            for of_user in (self.ids, self.interactions, self.counts):
                of_user.pop(user, None)
            self.of_users = [event for event in self.of_users if event[0] != user]
            return 1
        ids = self.ids.setdefault(user, [])
        identity = row.get("event_id") or (kind, item, at, label)
        if identity in ids[-D:]:
            return 0
        ids.append(identity)
        self.counts[user] = self.counts.get(user, 0) + 1
        if kind == IMPRESSION or row.get("value", 1.0) > 0:
            event = (user, item, "impression" if kind == IMPRESSION else label, at)
            self.counted.append(event)
            self.of_users.append(event)
        if kind == INTERACTION and label in SPEC.labels and row.get("value", 1.0) > 0:
            self.interactions.setdefault(user, []).append((at, offset, item))
        return 1

    def history(self, user: int) -> list:
        return sorted(self.interactions.get(user, []))[-H:]

    def window(self, events: list, of: int, place: int, window: Window, t: int) -> int:
        """The events of a user (place 0) or an item (place 1) in a window at t."""
        hop = window.seconds * SECOND // 12
        lower = (t - window.seconds * SECOND) // hop * hop
        return sum(e[place] == of and window.label in ("any", e[2]) and e[3] >= lower for e in events)

    def since(self, user: int, label: str) -> int:
        """The latest instant of an event of a user; 0 none."""
        return max((e[3] for e in self.of_users if e[0] == user and label in ("any", e[2])), default=0)

    def seen(self, user: int) -> list:
        return sorted({item for _, _, item in sorted(self.interactions.get(user, []))[:-H]})


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from([INTERACTION] * 12 + [IMPRESSION, ITEM, ITEM, FORGET]),
            "user": st.sampled_from([-5, 0, 1, 2**53 + 1]),
            "item": st.integers(-2, 6),
            "at": st.integers(0, 90).map(lambda tens: 10 * tens * SECOND),
            "label": st.sampled_from(LABELS[1:]),
            "value": st.sampled_from([0.0, 1.0, 1.0, 2.5]),
            "event_id": st.sampled_from([b"", b"", b"", b"a", b"b"]),
        }
    ),
    min_size=1,
    max_size=60,
)


def states(store: LmdbStore) -> dict:
    with store.read() as reading:
        return {"position": reading.position, **dict(reading.scan(b""))}


@pytest.fixture
def folders(tmp_path_factory):
    """A function that gives a fresh store."""
    opened = []

    def fresh() -> LmdbStore:
        opened.append(LmdbStore(tmp_path_factory.mktemp("store"), writable=True))
        return opened[-1]

    yield fresh
    for store in opened:
        store.close()


def counts_at(record, t: int) -> list[int]:
    """Each window's count in a record."""
    return [
        int(values(record["newest"][None, k], record["tiles"][None, k], window, np.array([t]))[0])
        for k, window in enumerate(WINDOWS)
    ]


@settings(max_examples=120)
@given(rows=ROWS, cuts=st.lists(st.integers(1, 59), max_size=6), wait=st.integers(0, 700))
def test_a_record_is_what_its_events_say_however_they_are_cut(tmp_path_factory, rows, cuts, wait):
    t = max(row["at"] for row in rows) + wait * SECOND
    plain, statuses = Plain(), []
    for offset, row in enumerate(rows):
        statuses.append(plain.add(offset, row))
    stores = [LmdbStore(tmp_path_factory.mktemp("store"), writable=True) for _ in range(2)]
    events = events_of(rows)
    whole = apply(stores[0], SPEC, events, 0)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [apply(stores[1], SPEC, events.take(slice(a, b)), a) for a, b in itertools.pairwise(edges)]
    assert whole.tolist() == np.concatenate(parts).tolist() == statuses
    assert states(stores[0]) == states(stores[1])
    with stores[0].read() as reading:
        for user in {row["user"] for row in rows if row["kind"] not in (ITEM, FORGET)}:
            (key,) = user_keys(np.array([user]))
            (record,) = unpack(reading.get([USER + key]), user_record(SPEC))
            slots = record["slots"][: record["num_history"]][::-1]
            assert list(zip(slots["at"], slots["offset"], slots["item"], strict=True)) == plain.history(user)
            seen = np.frombuffer(reading.get([SEEN + key])[0] or b"", "<i8")
            assert seen.tolist() == plain.seen(user)
            assert record["num_events"] == plain.counts.get(user, 0)
            assert record["since"].tolist() == [plain.since(user, label) for label in SPEC.since]
            assert counts_at(record, t) == [plain.window(plain.of_users, user, 0, w, t) for w in WINDOWS]
        for item in {row["item"] for row in rows}:
            (record,) = unpack(reading.get([item_key(item)]), item_record(SPEC))
            assert counts_at(record, t) == [plain.window(plain.counted, item, 1, w, t) for w in WINDOWS]
        for item, (_, value) in plain.stock.items():
            (record,) = unpack(reading.get([item_key(item)]), item_record(SPEC))
            assert record["stock"] == (IN_STOCK if value > 0 else OUT_OF_STOCK)
    for store in stores:
        store.close()


def test_what_is_in_the_state_changes_nothing_when_it_comes_again(folders):
    rows = [{"user": 1, "item": place, "at": place} for place in range(9)]
    store = folders()
    apply(store, SPEC, events_of(rows), 0)
    before = states(store)
    assert apply(store, SPEC, events_of(rows), 0).tolist() == [0] * 9
    assert states(store) == before


def test_the_same_event_id_counts_once_and_a_hash_of_zero_is_not_known_already(folders):
    store = folders()
    rows = [{"user": 1, "item": 7, "event_id": b"x"}, {"user": 1, "item": 7, "event_id": b"x"}]
    assert apply(store, SPEC, events_of(rows), 0).tolist() == [1, 0]
    assert apply(store, SPEC, events_of([{"user": 1, "item": 8, "event_id": b"x"}]), 2).tolist() == [0]
    assert apply(store, SPEC, events_of([{"user": 2, "item": 7, "event_id": b"x"}]), 3).tolist() == [1]


def test_a_crash_in_a_commit_leaves_the_state_before_it(folders):
    store = folders()
    apply(store, SPEC, events_of([{"user": 1, "item": 7}]), 0)
    before = states(store)

    def torn():
        yield b"u1", b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.commit(torn(), 9)
    assert states(store) == before


def test_text_ids_are_known_by_their_hash(folders):
    spec = StreamSpec("BYTES", "BYTES", ("click",), history_length=H, dedupe_last=D)
    text = np.array([b"007", b"7"], object)
    events = events_of([{"at": 1}, {"at": 2}])
    events = Events(**{**events.__dict__, "user": np.array([b"u", b"u"], object), "item": text})
    store = folders()
    apply(store, spec, events, 0)
    with store.read() as reading:
        (record,) = unpack(reading.get([b"uu"]), user_record(spec))
    assert record["slots"]["item"][:2].tolist() == item_keys(text)[::-1].tolist()
    assert len(set(item_keys(text).tolist())) == 2


def test_a_reader_sees_a_commit_at_once_and_none_before(tmp_path: Path):
    writer = LmdbStore(tmp_path, writable=True)
    apply(writer, SPEC, events_of([{"user": 1, "item": 7}]), 0)
    with writer.read() as reading:
        apply(writer, SPEC, events_of([{"user": 1, "item": 8}]), 1)
        assert reading.position == 1
    with writer.read() as reading:
        assert reading.position == 2
    writer.close()
