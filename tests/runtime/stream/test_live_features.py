"""Stream features as the chain's steps read them: against counts by hand, refreshed, replaced and away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from runtime.ranker.pairs import STREAM, STREAM_KNOWN
from runtime.spec import LiveSpec
from runtime.stream.events import IMPRESSION, INTERACTION, Events
from runtime.stream.features import COUNT, RATE, LiveFeature
from runtime.stream.folder import state_folder
from runtime.stream.item_windows import ItemWindows
from runtime.stream.live import AWAY, at_instant, events_in, now_ns
from runtime.stream.popular import PopularNow
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply
from runtime.stream.store import LmdbStore
from runtime.stream.windows import Window

SECOND = 10**9
START = 1_700_000_000 * SECOND
HOUR, DAY = 3600, 86_400
WINDOWS = (Window("click", HOUR), Window("impression", HOUR), Window("click", DAY))
FEATURES = (
    LiveFeature("clicks_1d", COUNT, (WINDOWS[2],)),
    LiveFeature("ctr_1h", RATE, WINDOWS[:2], prior=4.0, base=0.25),
)
STREAM_SPEC = StreamSpec("INT64", "INT64", ("click",), item_windows=WINDOWS)
NUM_ITEMS = 3_000


@dataclass
class Spec:
    """What ItemWindows reads of a chain's spec."""

    live: LiveSpec
    num_items: int = NUM_ITEMS
    item_id_dtype: str = "INT64"


class World:
    """A store that a test writes, and the log of what it wrote."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.offset = root, [], 0
        self.folder = state_folder(root / "events", STREAM_SPEC.state_version)
        self.store = LmdbStore(self.folder, writable=True)
        (root / "ids").mkdir()
        np.save(root / "ids/items.npy", 10 * np.arange(NUM_ITEMS))

    def tell(self, rows, at, clicked) -> None:
        """Impressions of items, some of them clicked."""
        rows, at, clicked = (np.asarray(values) for values in (rows, at, clicked))
        kind = np.where(clicked, INTERACTION, IMPRESSION).astype(np.uint8)
        ids = np.array([b"%d" % (self.offset + place) for place in range(len(rows))], object)
        nothing = np.array([b""] * len(rows), object)
        events = Events(
            kind, np.ones(len(rows), np.int64), 10 * rows, at, clicked.astype(np.uint8), np.ones(len(rows), np.float32),
            ids, nothing, ("", "click"),
        )  # fmt: skip
        apply(self.store, STREAM_SPEC, events, self.offset)
        self.offset += len(rows)
        self.log += list(zip(rows.tolist(), at.tolist(), clicked.tolist(), strict=True))

    def open(self) -> ItemWindows:
        live = LiveSpec(STREAM_SPEC, item_features=FEATURES)
        with events_in(self.root / "events"):
            return ItemWindows(self.root, Spec(live))  # type: ignore[arg-type]

    def count(self, row: int, *, clicked: bool, seconds: int, t: int) -> int:
        hop = seconds * SECOND // 12
        lower = (t - seconds * SECOND) // hop * hop
        return sum(r == row and c == clicked and at >= lower for r, at, c in self.log)

    def expected(self, row: int, t: int) -> list[float]:
        clicks, shown = (self.count(row, clicked=c, seconds=HOUR, t=t) for c in (True, False))
        ctr = (clicks + 4.0 * 0.25) / (shown + 4.0)
        return [np.log1p(self.count(row, clicked=True, seconds=DAY, t=t)), np.log(ctr / 0.25)]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.store.close()


def test_candidates_have_what_their_windows_count_and_later_events_are_taken_in(world):
    random, windows = np.random.default_rng(3), world.open()
    for part in range(6):
        num = 300
        at = START + part * 7000 * SECOND + np.sort(random.integers(0, 7000, num)) * SECOND
        world.tell(random.choice(40, num) * 61, at, random.random(num) < 0.3)
        rows = np.array([[0, 61, 122, -1], [2379, 1, 61 * 7, 0]])
        t = np.array([int(at[-1]) + 5 * SECOND, int(at[-1]) + 4000 * SECOND])
        found = windows.values(rows, t, world.offset)
        assert (found[STREAM_KNOWN] == 1).all()
        for user, place in np.argwhere(rows >= 0).tolist():
            got = [found[STREAM + feature.name][user, place] for feature in FEATURES]
            assert got == pytest.approx(world.expected(int(rows[user, place]), int(t[user])), abs=1e-6)


def test_only_what_changed_is_read_again(world):
    windows = world.open()
    world.tell(np.arange(2_500), np.full(2_500, START), np.ones(2_500, bool))
    windows.values(np.array([[0]]), np.array([START]), world.offset)
    with events_in(world.root / "events"):
        world.tell([7, 7, 9], [START, START + 1, START], [True, True, True])
        changes = windows._state.count_changes(2_500, windows._opened)
    assert changes is not None
    assert not changes.is_whole
    assert sorted(changes.items.tolist()) == [70, 90]
    found = windows.values(np.array([[7, 9, 11]]), np.array([START]), world.offset)
    assert found["stream.clicks_1d"][0].tolist() == pytest.approx(np.log1p([3, 2, 1]).tolist())


def test_without_a_state_nothing_is_known(world):
    windows = world.open()
    world.tell([5], [START], [True])
    for found in (
        windows.values(np.array([[5, -1]]), np.array([START]), AWAY),
        ItemWindows(world.root, Spec(LiveSpec(STREAM_SPEC, item_features=FEATURES))).values(  # type: ignore[arg-type]
            np.array([[5, -1]]), np.array([START]), 1
        ),
    ):
        assert {name: values.tolist() for name, values in found.items()} == {
            STREAM_KNOWN: [[0.0, 0.0]],
            "stream.clicks_1d": [[0.0, 0.0]],
            "stream.ctr_1h": [[0.0, 0.0]],
        }


def test_what_was_counted_lately_comes_first_and_then_what_the_export_says(world):
    spec = Spec(LiveSpec(STREAM_SPEC, item_features=FEATURES, popular_by=FEATURES[0]))
    static = np.linspace(1, 0, NUM_ITEMS).astype(np.float32)
    order = np.setdiff1d(np.arange(NUM_ITEMS), [40]).astype(np.int32)  # what the rules allow
    with events_in(world.root / "events"):
        popular = PopularNow(world.root, spec, order, static)  # type: ignore[arg-type]
    world.tell([900, 900, 40, 40, 40, 7, 800], np.full(7, START), [True, True, True, True, True, True, True])
    rows, scores = popular.now(START, world.offset)
    # 40 may not be shown; of 7 and 800, counted once each, the export has 7 before 800.
    assert rows[:5].tolist() == [900, 7, 800, 0, 1]
    assert sorted(rows.tolist()) == order.tolist()
    assert (np.diff(scores[rows]) <= 0).all()
    # A day later the windows are empty; without a state it is the export's order.
    assert popular.now(START + 2 * DAY * SECOND, world.offset)[0][:3].tolist() == [0, 1, 2]
    assert popular.now(START, AWAY)[0].tolist() == order.tolist()
    # An evaluation asks for one instant after the other, faster than a clock: each has its own order.
    assert popular.now(START, world.offset)[0][:3].tolist() == [900, 7, 800]


def test_a_block_can_be_at_another_instant():
    with at_instant(START):
        assert now_ns() == START
    assert now_ns() > START
