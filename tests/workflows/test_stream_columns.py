"""Stream features of table rows: against the fold that serves them, against SQL, and what is refused."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from runtime.stream.events import IMPRESSION, INTERACTION, Events
from runtime.stream.features import of_records
from runtime.stream.keys import user_keys
from runtime.stream.record import item_record, unpack, user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply
from runtime.stream.store import USER, LmdbStore, item_key
from workflows.core.errors import ConfigError, DataError
from workflows.features.config import StreamFeature
from workflows.stream.columns import TableStream
from workflows.stream.counting import KnownEvents
from workflows.stream.features import check_labels, live_columns, since_labels, windows_of
from workflows.stream.said import Said

SECOND = 10**9
START = 1_700_000_000 * SECOND
LABELS = ("click", "buy")
FEATURES = {
    "clicks": StreamFeature(key="user", count="click", windows=["1h", "7d"]),
    "seen": StreamFeature(key="user", count="any", windows=["10m"]),
    "idle": StreamFeature(key="user", since="any"),
    "since_buy": StreamFeature(key="user", since="buy"),
    "recent": StreamFeature(key="user", count="click", windows=["1d"], ttl="2h"),
    "buys": StreamFeature(key="item", count="buy", windows=["1d"]),
    "ctr": StreamFeature(key="item", rate=["click", "impression"], windows=["6h"], prior=5.0),
}
COLUMNS = live_columns(FEATURES)


def rows_of(seed: int, num: int) -> dict[str, np.ndarray]:
    """A log of impressions; some of them at one instant."""
    rng = np.random.default_rng(seed)
    click = rng.random(num) < 0.3
    return {
        "user_row": rng.integers(0, 5, num),
        "item_row": rng.integers(0, 7, num),
        "instant": START + np.sort(rng.integers(0, 8000, num) * 60 * SECOND),
        "n": np.arange(num),
        "split": (np.arange(num) > 0.8 * num).astype(np.int8),
        "label_0": click.astype(np.float32),
        "label_1": (click & (rng.random(num) < 0.3)).astype(np.float32),
    }


def table_stream(rows: dict[str, np.ndarray], unit: str = "s") -> TableStream:
    import pandas as pd

    con = duckdb.connect()
    frame = pd.DataFrame(rows)
    con.execute("CREATE TABLE events AS SELECT * FROM frame")
    assert len(frame) == len(rows["n"])
    return TableStream(Said.of_tables(con, LABELS, unit))


def events_of(rows: dict[str, np.ndarray], place: int) -> Events:
    """What a server is sent for one row: the impression, and an event for each label that it has."""
    labels = [-1, *(k for k in range(len(LABELS)) if rows[f"label_{k}"][place] > 0)]
    num = len(labels)
    text = np.array([b""] * num, object)
    return Events(
        kind=np.array([IMPRESSION if label < 0 else INTERACTION for label in labels], np.uint8),
        user=np.full(num, rows["user_row"][place]),
        item=np.full(num, rows["item_row"][place]),
        at=np.full(num, rows["instant"][place]),
        label=np.array([label + 1 for label in labels], np.uint8),
        value=np.ones(num, np.float32),
        event_id=np.array([f"{place} {label}".encode() for label in labels], object),
        extra=text,
        labels=("", *LABELS),
    )


def test_a_row_knows_what_the_server_would_have_known_just_before_it(tmp_path):
    rows = rows_of(seed=1, num=400)
    stream = table_stream(rows)
    columns = [stream.with_base(column) for column in COLUMNS]
    spec = StreamSpec(
        "INT64", "INT64", LABELS,
        user_windows=windows_of(columns, "user"), item_windows=windows_of(columns, "item"), since=since_labels(columns),
    )  # fmt: skip
    trained = {
        **stream.of([c for c in columns if c.key == "user"], rows["user_row"], rows["instant"]),
        **stream.of([c for c in columns if c.key == "item"], rows["item_row"], rows["instant"]),
    }
    store, offset, told = LmdbStore(tmp_path, writable=True), 0, 0
    for place, t in enumerate(rows["instant"].tolist()):
        # Rows of one instant do not know each other.
        while rows["instant"][told] < t:
            events = events_of(rows, told)
            apply(store, spec, events, offset)
            told, offset = told + 1, offset + len(events)
        with store.read() as reading:
            user = unpack(reading.get([USER + user_keys(rows["user_row"][place : place + 1])[0]]), user_record(spec))
            item = unpack(reading.get([item_key(int(rows["item_row"][place]))]), item_record(spec))
        for column in columns:
            records, windows = (user, spec.user_windows) if column.key == "user" else (item, spec.item_windows)
            served = of_records(column.feature, records, windows, spec.since, np.array([t]))[0]
            assert served == trained[column.name][place] or np.isnan([served, trained[column.name][place]]).all()
    store.close()


def test_windows_are_what_sql_counts():
    rows = rows_of(seed=2, num=600)
    stream = table_stream(rows)
    found = stream.of(COLUMNS[:2], rows["user_row"], rows["instant"])
    con = duckdb.connect()
    import pandas as pd

    frame = pd.DataFrame(rows)
    con.register("events", frame)
    for name, window_s in (("clicks_1h", 3600), ("clicks_7d", 7 * 86400)):
        hop = window_s * SECOND // 12
        counted = con.execute(
            "SELECT count(e.n) FROM events r LEFT JOIN events e ON e.user_row = r.user_row AND e.label_0 > 0 "
            f"AND e.instant < r.instant AND e.instant >= (r.instant - {window_s * SECOND}) // {hop} * {hop} "
            "GROUP BY r.n ORDER BY r.n"
        ).fetchnumpy()
        assert found[name].tolist() == next(iter(counted.values())).tolist()


def test_the_first_event_of_a_user_knows_nothing():
    rows = {name: values[:1] for name, values in rows_of(seed=3, num=1).items()}
    rows["label_0"][:] = 1
    found = table_stream(rows).of(COLUMNS[:5], rows["user_row"], rows["instant"])
    assert found["clicks_1h"].tolist() == found["seen_10m"].tolist() == [0.0]
    assert np.isnan(found["idle"]).all()


def test_a_value_that_has_expired_is_not_known_and_one_that_has_not_is():
    rows = {name: values[:3] for name, values in rows_of(seed=3, num=3).items()}
    rows |= {"user_row": np.zeros(3, np.int64), "label_0": np.ones(3, np.float32)}
    rows["instant"] = START + np.array([0, 59, 59 + 121]) * 60 * SECOND
    column = [c for c in COLUMNS if c.name == "recent_1d"]
    found = table_stream(rows).of(column, rows["user_row"], rows["instant"])["recent_1d"]
    assert found[:2].tolist() == [0.0, 1.0]
    assert np.isnan(found[2])


def test_a_rate_without_events_is_that_of_the_train_events():
    rows = rows_of(seed=4, num=300)
    stream = table_stream(rows)
    ctr = stream.with_base(next(column for column in COLUMNS if column.name == "ctr_6h"))
    in_train = rows["split"] == 0
    assert ctr.feature.base == rows["label_0"][in_train].sum() / in_train.sum()
    assert stream.of([ctr], np.array([99]), np.array([START]))["ctr_6h"].tolist() == pytest.approx([ctr.feature.base])


def test_counts_at_a_position_hold_for_late_events_too():
    rng = np.random.default_rng(5)
    for _ in range(60):
        num = int(rng.integers(0, 60))
        offset = np.sort(rng.choice(200, num, replace=False)).astype(np.int64)
        at = np.where(rng.random(num) < rng.random(), offset, rng.integers(0, 200, num)).astype(np.int64)
        key, order = rng.integers(0, 3, num), rng.permutation(num)
        known = KnownEvents(key[order], at[order], offset[order])
        asked, position, since = rng.integers(-1, 5, 40), rng.integers(-5, 210, 40), rng.integers(-5, 210, 40)
        counts = [int(((key == k) & (offset < o) & (at >= s)).sum()) for k, o, s in zip(asked, position, since)]  # noqa: B905
        latest = [int(at[(key == k) & (offset < o)].max(initial=0)) for k, o in zip(asked, position)]  # noqa: B905
        assert known.count(asked, position, since).tolist() == counts
        assert known.latest(asked, position).tolist() == latest


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ({"key": "user"}, "one of count, since, rate and share_of, got none"),
        ({"key": "user", "count": "click", "since": "any"}, "got count and since"),
        ({"key": "user", "count": "click"}, "at least one length of time"),
        ({"key": "user", "count": "click", "windows": ["1 hour"]}, "'1 hour' is no length of time"),
        ({"key": "user", "count": "click", "windows": ["90s"]}, "a multiple of a minute, got '90s'"),
        ({"key": "item", "since": "any"}, "of users alone"),
        ({"key": "user", "since": "any", "windows": ["1h"]}, "windows has no effect"),
        ({"key": "item", "rate": ["click"], "windows": ["1h"]}, "two labels"),
        ({"key": "item", "count": "click", "windows": ["1h"], "ttl": "1h"}, "ttl is of users alone"),
        ({"key": "item", "share_of": "category"}, "looks at the history of users"),
        ({"key": "user", "share_of": "category", "windows": ["1h"]}, "windows and ttl have no effect on share_of"),
        ({"key": "user", "count": "click", "windows": ["1h"], "ttl": "soon"}, "ttl: 'soon' is no length of time"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_in_one_sentence(feature, words):
    with pytest.raises(ConfigError, match=r"features\.stream\.f") as error:
        live_columns({"f": StreamFeature(**feature)})
    assert words in str(error.value)


def test_a_label_that_no_event_has_is_refused():
    with pytest.raises(ConfigError, match="counts 'view', which is no label; there are any, click, buy, impression"):
        check_labels(live_columns({"f": StreamFeature(key="user", count="view", windows=["1h"])}), LABELS)


def test_places_in_an_order_are_no_instants():
    with pytest.raises(DataError, match="needs timestamps that are instants, got order"):
        table_stream(rows_of(seed=6, num=10), unit="order")
