"""The audit of a live state, and the backfill of one from tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.export.stage import export
from ensemble.stream import backfill as backfill_module
from ensemble.stream.audit import audit
from ensemble.stream.backfill import BESIDE, backfill
from ensemble.stream.replay import replay
from ensemble.stream.status import print_status
from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, Events
from runtime.stream.features import of_records
from runtime.stream.folder import state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.keys import user_keys
from runtime.stream.log.reader import next_offset, read_batches
from runtime.stream.record import item_record, pack_items, pack_users, unpack, user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.store import SEEN, USER, LmdbStore, item_key
from runtime.stream.windows import Window
from tests.ensemble.synthetic import make_run, sign_again
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.features.config import FeaturesConfig, StreamFeature
from workflows.shop.config import ShopConfig
from workflows.stream.features import since_labels, windows_of
from workflows.stream.said import SAID_FILE, Said
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.info import DataInfo
from workflows.tables.stage import prepare_data

SECOND = 10**9
START = 1_700_000_000 * SECOND
WINDOWS = (Window("click", 3600), Window("any", 86_400), Window("impression", 600))
SPEC = StreamSpec(
    "INT64", "INT64", ("click",), stock="in_stock", history_length=5, dedupe_last=4,
    user_windows=WINDOWS, item_windows=WINDOWS, since=("any", "click"),
)  # fmt: skip


def random_events(random: np.random.Generator, num: int, first: int) -> Events:
    """Events of every kind, some late, some twice."""
    kind = random.choice([INTERACTION, IMPRESSION, ITEM, FORGET], num, p=[0.5, 0.4, 0.08, 0.02]).astype(np.uint8)
    at = START + (first + np.arange(num)) * 20 * SECOND - random.choice([0, 0, 0, 4000], num) * SECOND
    ids = [b"" if random.random() < 0.7 else b"e%d" % random.integers(0, 30) for _ in range(num)]
    nothing = np.array([b""] * num, object)
    return Events(
        kind, random.integers(1, 9, num), 3 * random.integers(0, 12, num), at,
        np.where(kind == INTERACTION, random.integers(1, 3, num), 0).astype(np.uint8),
        random.choice([0.0, 1.0, 2.0], num).astype(np.float32), np.array(ids, object), nothing, ("", "click", "other"),
    )  # fmt: skip


@pytest.fixture
def events(tmp_path) -> Path:
    """A folder that took in a few thousand events, in batches of any size."""
    random, folder, first = np.random.default_rng(9), tmp_path / "events", 0
    ingest = Ingest(folder, SPEC)
    for num in [1, 7, 64, 512, 3, 900]:
        ingest.accept(random_events(random, num, first), START + first)
        first += num
    ingest.close()
    return folder


def test_every_value_is_that_of_the_log(events, capsys):
    audit(events)
    said = capsys.readouterr().err
    assert "values of the live state are those of the log, 0 differ" in said
    replay(events, check=True)


@pytest.mark.parametrize("whose", ["user", "item"])
def test_a_value_that_is_another_is_named(events, whose):
    store = LmdbStore(state_folder(events, SPEC.state_version), writable=True)
    with store.read() as reading:
        key = USER + user_keys(np.array([3]))[0] if whose == "user" else item_key(6)
        dtype = user_record(SPEC) if whose == "user" else item_record(SPEC)
        record = unpack(reading.get([key]), dtype)
        position = reading.position
    record["tiles"] += 1
    pack = pack_users if whose == "user" else pack_items
    store.commit([(key, pack(record)[0])], position)
    store.close()
    with pytest.raises(ArtefactError, match=rf"stream audit: windows of {whose} {3 if whose == 'user' else 6} is \["):
        audit(events)


@pytest.mark.parametrize(
    ("key", "damage", "whose"),
    [
        (USER + user_keys(np.array([3]))[0], lambda value: value[:-8], "user 3"),
        (USER + user_keys(np.array([3]))[0], lambda value: value[:9], "user 3"),
        (USER + user_keys(np.array([3]))[0], lambda value: value + b"x", "user 3"),
        (SEEN + user_keys(np.array([3]))[0], lambda value: value[:-3], "user 3"),
        (item_key(6), lambda value: value + b"x", "item 6"),
    ],
)
def test_a_damaged_record_is_one_sentence_in_every_command(events, key, damage, whose):
    store = LmdbStore(state_folder(events, SPEC.state_version), writable=True)
    with store.read() as reading:
        (value,), position = reading.get([key]), reading.position
    store.commit([(key, damage(value or bytes(8)))], position)
    store.close()
    with pytest.raises(ArtefactError, match=rf"{whose} cannot be read in the live state: a record of .* is damaged"):
        audit(events)
    with pytest.raises(ArtefactError, match=rf"they differ first in .*{whose}"):
        replay(events, check=True)
    replay(events, check=False)
    print_status(events)


FEATURES = FeaturesConfig(
    stream={
        "clicks": StreamFeature(key="user", count="click", windows=["1h", "1d"]),
        "idle": StreamFeature(key="user", since="any"),
        "ctr": StreamFeature(key="item", rate=["click", "impression"], windows=["6h"], prior=5.0),
    }
)
DATA = DataConfig(events="events.parquet", timestamp="at", labels=["click"])


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run with data/ from tables with stream features, and an export that takes in live events."""
    monkeypatch.chdir(tmp_path)
    random, num = np.random.default_rng(4), 900
    table = {
        "user_id": random.integers(100, 120, num),
        "item_id": random.integers(500, 530, num),
        "at": pa.array(START // 1000 + np.arange(num) * 300 * 10**6, pa.timestamp("us")),
        "click": random.integers(0, 2, num),
    }
    pq.write_table(pa.table(table), "events.parquet")
    made = Run(tmp_path / "run")
    prepare_data(made, DATA, SplitConfig(), ShopConfig(), 5, features=FEATURES)
    live = DataInfo.load(made.folder("data")).stream
    spec = StreamSpec(
        "INT64", "INT64", ("click",), history_length=5, since=since_labels(live),
        user_windows=windows_of(live, "user"), item_windows=windows_of(live, "item"),
    )  # fmt: skip
    model = made.folder("repo") / "fused" / "cascade_events"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text("")
    spec.save(model / "1")
    return made


def test_a_backfilled_state_gives_what_the_rows_of_the_tables_say(run, capsys):
    backfill(run.root, None, None)
    folder = run.root / "events"
    assert "has the latest 1," in capsys.readouterr().err
    audit(folder)
    live = DataInfo.load(run.folder("data")).stream
    spec = StreamSpec.load(folder)
    # The last row, had it been a query: the state knows one row more, its own.
    table = pq.read_table(run.folder("data") / "test").to_pylist()
    ids = {side: np.load(run.folder("data") / "ids" / f"{side}.npy") for side in ("users", "items")}
    last = table[-1]
    rows_of_user = [row for row in table if row["user_row"] == last["user_row"]]
    store = LmdbStore(state_folder(folder, spec.state_version), writable=False)
    t = np.array([table[-1]["at"] + 1])
    with store.read() as reading:
        (record,) = [unpack(reading.get([USER + user_keys(ids["users"][[last["user_row"]]])[0]]), user_record(spec))]
        (item,) = [unpack(reading.get([item_key(int(ids["items"][last["item_row"]]))]), item_record(spec))]
    store.close()
    by_name = {column.name: column.feature for column in live}
    served = of_records(by_name["clicks_1d"], record, spec.user_windows, spec.since, t)[0]
    assert served == last["clicks_1d"] + last["click"]
    assert len(rows_of_user) >= 1
    assert of_records(by_name["idle"], record, spec.user_windows, spec.since, t)[0] == pytest.approx(1e-9)
    assert 0 < of_records(by_name["ctr_6h"], item, spec.item_windows, (), t)[0] < 1


def test_a_log_that_has_events_is_not_filled(run):
    backfill(run.root, None, 1)
    with pytest.raises(ArtefactError, match=r"has .* events already, and those of the tables would come after them"):
        backfill(run.root, None, 1)


class Killed(BaseException):
    """Ends a backfill as a signal does that nothing can catch, as far as a test in one process can."""


@pytest.mark.parametrize(
    ("when", "served"), [("feeding", 0), ("log", 0), ("state", 0), ("state", 1), ("stream.json", 0)]
)
def test_a_backfill_that_was_killed_left_all_or_nothing_and_goes_on(run, monkeypatch, when, served):
    folder, replace_path = run.root / "events", Path.replace

    def fed(ingest, *of):
        feed(ingest, *of)
        raise Killed

    def moved(self, target):
        if self.parent.name == BESIDE and self.name == when:
            raise Killed
        return replace_path(self, target)

    feed = backfill_module._feed
    Ingest(folder, StreamSpec.load(run.folder("repo") / "fused/cascade_events/1")).close()  # a server without events
    with monkeypatch.context() as patch:
        patch.setattr(backfill_module, "_feed", fed if when == "feeding" else feed)
        patch.setattr(Path, "replace", moved)
        with pytest.raises(Killed):
            backfill(run.root, None, None)
    assert (folder / BESIDE).is_dir()
    is_there = when in ("state", "stream.json")  # the log, as a whole
    assert (next_offset(folder) > 0) == is_there
    if is_there and served:
        Ingest(folder, StreamSpec.load(folder / BESIDE)).close()  # a server that makes the state of the log
    backfill(run.root, None, None)
    assert not (folder / BESIDE).exists()
    with pytest.raises(ArtefactError, match="events already"):
        backfill(run.root, None, None)
    assert next_offset(folder) > 1000
    audit(folder)
    replay(folder, check=True)


def test_a_folder_that_a_server_writes_is_not_filled(run):
    held = Ingest(run.root / "events", StreamSpec.load(run.folder("repo") / "fused/cascade_events/1"))
    with pytest.raises(ArtefactError, match="is being written by process"):
        backfill(run.root, None, None)
    held.close()


def test_what_the_tables_have_from_the_future_does_not_close_the_windows_of_now(tmp_path, capsys):
    run, config = make_run(tmp_path / "run", num_users=40, num_items=120, stream=STREAM_FEATURES)
    path = run.folder("data") / "test/part_000.parquet"
    rows = pq.read_table(path)
    ahead = np.where(np.arange(len(rows)) < len(rows) - 3, rows["at"].to_numpy(), 7 * 10**18)
    pq.write_table(rows.set_column(rows.schema.get_field_index("at"), "at", pa.array(ahead)), path)
    said = Said.read(run.folder("data") / SAID_FILE)
    at = np.where(np.isin(said.at, rows["at"].to_numpy()[-3:]), 7 * 10**18, said.at)
    replace(said, at=at, known_at=at).write(run.folder("data") / SAID_FILE)
    sign_again(run)
    export(run, config)
    backfill(run.root, None, None)
    assert "that lie ahead of now are left out" in capsys.readouterr().err
    audit(run.root / "events")
    last = [batch.events.at.max() for batch in read_batches(run.root / "events", 0, None, 1 << 16)]
    assert max(last) == ahead[-4]
    assert sum(len(batch.events) for batch in read_batches(run.root / "events", 0, None, 1 << 16)) > 1000


def test_a_run_without_an_export_for_live_events_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"put \[stream\] into the config"):
        backfill(tmp_path, None, None)
