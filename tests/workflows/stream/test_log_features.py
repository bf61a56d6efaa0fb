"""Stream features of rows that come from a log: what had arrived before each row's instant, late events too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, Events
from runtime.stream.ingest import Ingest
from runtime.stream.spec import StreamSpec
from workflows.core.run import Run
from workflows.features.config import FeaturesConfig, StreamFeature
from workflows.shop.config import ShopConfig
from workflows.stream.backfill import TableEvents
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.info import DataInfo
from workflows.tables.stage import prepare_data

SECOND = 10**9
START = 1_700_000_000 * SECOND
SPEC = StreamSpec("INT64", "INT64", ("click", "buy"), dedupe_last=8)
FEATURES = FeaturesConfig(
    stream={
        "clicks": StreamFeature(key="user", count="click", windows=["10m"]),
        "all": StreamFeature(key="user", count="any", windows=["1h"]),
        "idle": StreamFeature(key="user", since="click"),
        "ctr": StreamFeature(key="item", rate=["click", "impression"], windows=["1h"]),
    }
)


@pytest.fixture
def world(tmp_path, monkeypatch) -> tuple[Run, list[tuple]]:
    """A run of a log, and what of the log counts: (user, item, at, received_at, label)."""
    monkeypatch.chdir(tmp_path)
    random, counted = np.random.default_rng(8), []
    ingest = Ingest(Path("events"), SPEC)
    for batch in range(80):
        received_at = START + batch * 60 * SECOND
        kinds = random.choice([INTERACTION, IMPRESSION], 12, p=[0.6, 0.4])
        labels = np.where(kinds == INTERACTION, random.integers(1, 3, 12), 0)
        users, items = random.integers(1, 6, 12), random.integers(0, 8, 12)
        at = received_at - random.choice([0, 5, 900], 12) * SECOND
        values = random.choice([0.0, 1.0], 12, p=[0.1, 0.9])
        ids = np.empty(12, object)
        ids[:] = [b"%d" % (batch * 12 + place) for place in range(12)]
        ids[11], users[11], items[11], at[11] = ids[10], users[10], items[10], at[10]  # sent twice
        nothing = np.array([b""] * 12, object)
        ingest.accept(
            Events(kinds.astype(np.uint8), users, items, at, labels.astype(np.uint8), values.astype(np.float32), ids,
                   nothing, ("", "click", "buy")),
            received_at,
        )  # fmt: skip
        for place in range(11):
            if kinds[place] == IMPRESSION or values[place] > 0:
                label = ("impression", "click", "buy")[labels[place]]
                counted.append((users[place], items[place], at[place], received_at, label))
    forget = Events(
        np.array([FORGET], np.uint8), np.array([5]), np.array([0]), np.array([START]), np.zeros(1, np.uint8),
        np.ones(1, np.float32), np.array([b""], object), np.array([b""], object), ("",),
    )  # fmt: skip
    ingest.accept(forget, START + 81 * 60 * SECOND)
    ingest.close()
    return prepared(Run(tmp_path / "run")), [event for event in counted if event[0] != 5]


def prepared(run: Run) -> Run:
    data = DataConfig(events="events", timestamp="at", labels=["click", "buy"])
    prepare_data(run, data, SplitConfig(), ShopConfig(), 5, features=FEATURES)
    return run


def rows_of(run: Run) -> list[dict]:
    """Rows of all splits, with raw ids."""
    data = run.folder("data")
    ids = {side: np.load(data / "ids" / f"{side}s.npy") for side in ("user", "item")}
    rows = [row for split in ("train", "valid", "test") for row in pq.read_table(data / split).to_pylist()]
    return [{**row, **{side: int(ids[side][row[f"{side}_row"]]) for side in ids}} for row in rows]


def test_a_row_knows_what_had_arrived_before_its_instant(world):
    run, counted = world
    rows = rows_of(run)
    assert len(rows) > 400
    for row in rows:
        user, t = row["user"], row["at"]
        known = [event for event in counted if event[3] < t]
        lower = {s: (t - s * SECOND) // (s * SECOND // 12) * (s * SECOND // 12) for s in (600, 3600)}
        of_user = [event for event in known if event[0] == user]
        assert row["clicks_10m"] == sum(e[4] == "click" and e[2] >= lower[600] for e in of_user)
        assert row["all_1h"] == sum(e[2] >= lower[3600] for e in of_user)
        latest = max((e[2] for e in of_user if e[4] == "click"), default=None)
        assert row["idle"] == (None if latest is None else max(t - latest, 0) / SECOND)


def test_rows_stay_as_they_are_when_older_events_arrive_later(world, tmp_path):
    run, _ = world
    before = rows_of(run)
    ingest, random = Ingest(Path("events"), SPEC), np.random.default_rng(9)
    ids, nothing = np.empty(200, object), np.array([b""] * 200, object)
    ids[:] = [b"late %d" % number for number in range(200)]
    ingest.accept(
        Events(np.full(200, INTERACTION, np.uint8), random.integers(1, 5, 200), random.integers(0, 8, 200),
               START + random.integers(0, 79 * 60, 200) * SECOND, np.ones(200, np.uint8), np.ones(200, np.float32), ids,
               nothing, ("", "click", "buy")),
        START + 90 * 60 * SECOND,
    )  # fmt: skip
    ingest.close()
    # Of the items' rate the base is that of all train events; the counts of users are their own.
    names = ("user", "item", "at", "click", "buy", "clicks_10m", "all_1h", "idle")
    told = [tuple(row[name] for name in names) for row in before]
    again = Counter(tuple(row[name] for name in names) for row in rows_of(prepared(Run(tmp_path / "again"))))
    assert again.total() == len(told) + 200
    assert not Counter(told) - again


def test_rates_have_the_base_of_what_was_known_in_train(world):
    run, counted = world
    last = max(row["at"] for row in pq.read_table(run.folder("data") / "train", columns=["at"]).to_pylist())
    in_train = [event[4] for event in counted if event[3] <= last]
    (ctr,) = [column.feature for column in DataInfo.load(run.folder("data")).stream if column.name == "ctr_1h"]
    assert ctr.base == in_train.count("click") / in_train.count("impression")


def test_a_replay_feeds_the_events_in_the_order_of_their_arrival(world):
    run, counted = world
    every, before, test = (TableEvents(run, part) for part in ("all", "before test", "test"))
    assert len(every) == len(counted) == len(before) + len(test)
    (events,) = every.batches()
    said = [name or "impression" for name in np.array(events.labels, object)[events.label]]
    found = list(zip(events.user.tolist(), events.item.tolist(), events.at.tolist(), said, strict=True))
    assert found == [(event[0], event[1], event[2], event[4]) for event in counted]
    assert before.known_at.max() < test.known_at.min()
