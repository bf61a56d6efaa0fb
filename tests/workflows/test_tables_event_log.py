"""The log of live events as the table of events: the rows that the state has, under the names of the config."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, Events
from runtime.stream.folder import save_spec
from runtime.stream.ingest import Ingest
from runtime.stream.log.reader import log_id
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore
from runtime.tensor import Tensor
from tests.runtime.stream.log.made import objects
from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.stream.compact import compact
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.event_log import as_table, find_log
from workflows.tables.info import DataInfo
from workflows.tables.stage import prepare_data

LABELS = ("click", "buy", "hover", "")
SPEC = StreamSpec("INT64", "INT64", ("click", "buy", "hover"), dedupe_last=3, segment_bytes=1000)
DATA = DataConfig(user_id="visitor", item_id="sku", timestamp="when", labels=["click", "buy"])
START = 1_700_000_000 * 10**9


def events_of(rows: list[dict]) -> Events:
    column = lambda name, other: [row.get(name, other) for row in rows]  # noqa: E731
    ids = [column("user", 0), column("item", 0)]
    user, item = (objects(v) if isinstance(v[0], bytes) else np.array(v, np.int64) for v in ids)
    return Events(
        kind=np.array(column("kind", INTERACTION), np.uint8),
        user=user,
        item=item,
        at=START + 10**9 * np.array([row.get("at", place) for place, row in enumerate(rows)], np.int64),
        label=np.array([LABELS.index(label) for label in column("label", "click")], np.uint8),
        value=np.array(column("value", 1.0), np.float32),
        event_id=objects(column("event_id", b"")),
        extra=objects([json.dumps(fields).encode() if fields else b"" for fields in column("extra", None)]),
        labels=LABELS,
    )


def log_of(folder: Path, *parts: list[dict], spec: StreamSpec = SPEC) -> Path:
    ingest = Ingest(folder, spec)
    for rows in parts:
        ingest.accept(events_of(rows), START)
    ingest.close()
    return folder


def table_of(folder: Path, scratch: Path, data: DataConfig = DATA) -> pd.DataFrame:
    scratch.mkdir(exist_ok=True)
    source, _ = as_table(find_log(str(folder)), data, scratch)
    return pd.read_parquet(source.files[0])


def test_interactions_are_rows_under_the_names_of_the_config(tmp_path):
    rows = [
        {"user": 1, "item": 2**53 + 1, "label": "click", "at": 5},
        {"user": 1, "item": 6, "label": "buy", "at": 3},
        {"user": 2, "item": 6, "label": "click", "value": 0.0, "at": 4},
        {"user": 2, "item": 6, "label": "hover"},
        {"user": 2, "item": 6, "kind": IMPRESSION, "label": ""},
        {"item": 6, "kind": ITEM, "label": "", "value": 0.0},
    ]
    table = table_of(log_of(tmp_path / "events", rows), tmp_path / "scratch")
    assert list(table.columns) == ["visitor", "sku", "when", "click", "buy"]
    assert table.visitor.tolist() == [1, 1, 2]
    assert table.sku.tolist() == [2**53 + 1, 6, 6]
    assert ((table.when - pd.Timestamp(START, tz="UTC")).dt.total_seconds()).tolist() == [5, 3, 4]
    assert table[["click", "buy"]].to_numpy().tolist() == [[1, 0], [0, 1], [0, 0]]


def test_without_labels_every_interaction_is_a_positive(tmp_path):
    rows = [{"user": 1, "label": "hover"}, {"user": 2, "value": 0.0}, {"user": 3, "kind": IMPRESSION}]
    folder = log_of(tmp_path / "events", rows)
    assert table_of(folder, tmp_path / "scratch", DataConfig()).user_id.tolist() == [1]


def test_the_rows_are_those_that_the_state_calls_new(tmp_path):
    random = np.random.default_rng(5)
    parts = [
        [
            {
                "user": int(random.integers(0, 4)),
                "item": int(random.integers(0, 5)),
                "at": int(random.integers(0, 6)),
                "event_id": random.choice([b"", b"a", b"b", b"c", b"d"]),
            }
            for _ in range(int(random.integers(1, 30)))
        ]
        for _ in range(30)
    ]
    ingest = Ingest(tmp_path / "events", SPEC)
    new = []
    for number, rows in enumerate(parts):
        status, _ = ingest.accept(events_of(rows), START)
        new += [(number, row["user"], row["item"], row["at"]) for row, s in zip(rows, status, strict=True) if s]
    ingest.close()
    assert 0 < len(new) < sum(map(len, parts))
    expected = [(user, item, at) for _, user, item, at in new]
    for _ in range(2):
        table = table_of(tmp_path / "events", tmp_path / "scratch")
        found = zip(table.visitor, table.sku, (table.when - pd.Timestamp(START, tz="UTC")).dt.seconds, strict=True)
        assert list(found) == expected
        # The same from Parquet.
        compact(tmp_path / "events", SPEC.state_version)
        subprocess.run(["rm", "-r", tmp_path / "scratch"], check=True)


def test_forgotten_users_are_left_out_up_to_when_they_were(tmp_path):
    rows = [{"user": user, "item": item} for item in range(3) for user in (1, 2)]
    folder = log_of(tmp_path / "events", rows, [{"user": 2, "kind": FORGET, "label": ""}], [{"user": 2, "item": 9}])
    table = table_of(folder, tmp_path / "scratch")
    assert list(zip(table.visitor, table.sku, strict=True)) == [(1, 0), (1, 1), (1, 2), (2, 9)]


def test_fields_of_extra_are_columns_of_their_types(tmp_path):
    fields = [
        {"hour": 7, "price": 1.5, "device": "phone", "is_app": True, "mixed": "1", "deep": {"a": 1}, "long": 2**70},
        {"hour": 8, "price": 2, "device": None, "mixed": 1},
    ]
    rows = [{"user": 1, "item": place, "extra": extra} for place, extra in enumerate([*fields, None])]
    names = ["hour", "price", "device", "is_app", "mixed", "deep", "long", "never"]
    folder = log_of(tmp_path / "events", rows)
    table = table_of(folder, tmp_path / "scratch", DataConfig(labels=["click"], context=names))
    said = json.loads(table[names].to_json(orient="records"))
    assert said == [
        {"hour": 7, "price": 1.5, "device": "phone", "is_app": True, "mixed": "1", "deep": '{"a": 1}',
         "long": str(2**70), "never": None},
        {"hour": 8, "price": 2.0, "device": None, "is_app": None, "mixed": "1", "deep": None, "long": None,
         "never": None},
        dict.fromkeys(names),
    ]  # fmt: skip


def test_a_field_that_no_event_has_is_of_the_type_that_the_server_takes(tmp_path):
    names = {"hour": "INT64", "price": "FP64", "is_app": "BOOL", "device": "BYTES"}
    spec = replace(SPEC, context=tuple(Tensor(name, dtype, optional=True) for name, dtype in names.items()))
    folder = log_of(tmp_path / "events", [{"user": 1, "item": 2, "extra": {"hour": None}}], spec=spec)
    (tmp_path / "scratch").mkdir()
    found = find_log(str(folder))
    assert found is not None
    as_table(found, DataConfig(labels=["click"], context=[*names, "never"]), tmp_path / "scratch")
    schema = pq.read_schema(tmp_path / "scratch/events.parquet")
    types = [str(schema.field(name).type) for name in [*names, "never"]]
    assert types == ["int64", "double", "bool", "string", "string"]


def prepared(root: Path, folder: Path) -> tuple[DataInfo, pd.DataFrame]:
    data = DataConfig(events=str(folder), timestamp="at", labels=["click", "buy"], context=["hour"])
    run = Run(root / "run")
    prepare_data(run, data, SplitConfig(by="leave_last_out"), ShopConfig(), 3)
    parts = run.folder("data").glob("*/part_*.parquet")
    return DataInfo.load(run.folder("data")), pd.concat([pd.read_parquet(part, columns=["hour"]) for part in parts])


@pytest.mark.parametrize("ids", ["int64", "string"])
def test_the_stage_reads_a_log_and_says_up_to_where(tmp_path, ids, capsys):
    text = ids == "string"
    spec = replace(SPEC, user_id_dtype="BYTES", item_id_dtype="BYTES") if text else SPEC
    name = (lambda kind, n: b"%s%d" % (kind, n)) if text else (lambda kind, n: n)
    rows = [
        {"user": name(b"u", n % 5), "item": name(b"i", n % 7), "at": n, "extra": {"hour": n % 24}} for n in range(60)
    ]
    folder = log_of(tmp_path / "events", rows[:40], spec=spec)
    info, _ = prepared(tmp_path, folder)
    assert info.log_id == log_id(folder) != ""
    assert (info.log_offset, sum(info.rows.values()), info.id_type) == (40, 40, {"item": ids, "user": ids})
    assert "40 events of the log up to offset 40: 40 interactions, 0 that came twice" in capsys.readouterr().err
    prepared(tmp_path, folder)
    assert "data: up to date" in capsys.readouterr().err
    log_of(folder, rows[40:], rows[-3:], spec=spec)
    info, table = prepared(tmp_path, folder)
    assert (info.log_offset, sum(info.rows.values()), info.timestamp_unit) == (63, 60, "datetime")
    assert "60 interactions, 3 that came twice" in capsys.readouterr().err
    assert sorted(table.hour) == sorted(n % 24 for n in range(60))


def test_what_cannot_be_a_table_is_one_sentence(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "empty" / "log").mkdir(parents=True)
    save_spec(tmp_path / "empty", SPEC)
    with pytest.raises(DataError, match="is a log of live events and has none yet; send some first"):
        find_log(str(tmp_path / "empty"))
    folder = log_of(tmp_path / "events", [{"user": 1, "label": "hover"}])
    with pytest.raises(DataError, match="got it beside other tables; name it alone"):
        find_log([str(folder), "events.parquet"])
    with pytest.raises(DataError, match="with one of the labels click, buy, got none in 1 events"):
        as_table(find_log(str(folder)), DATA, tmp_path / "scratch")
    (folder / "stream.json").unlink()
    with pytest.raises(DataError, match=r"without its stream\.json; start its server once"):
        find_log(str(folder))
    save_spec(folder, SPEC)
    (folder / "log" / f"{0:020d}.log").write_bytes(b"?" * 100)
    with pytest.raises(DataError, match="has none yet"):
        find_log(str(folder))
    (tmp_path / "tables" / "log").mkdir(parents=True)
    (tmp_path / "tables" / "log" / "2026.log").touch()
    assert find_log(str(tmp_path / "tables")) is None
    assert find_log(["s3://bucket/events", str(tmp_path)]) is None


def test_the_fold_beside_the_table_is_no_state_of_the_server(tmp_path):
    folder = log_of(tmp_path / "events", [{"user": 1}])
    before = sorted(path for path in folder.rglob("*") if path.name != "lock.mdb")
    table_of(folder, tmp_path / "scratch")
    assert sorted(path for path in folder.rglob("*") if path.name != "lock.mdb") == before
    LmdbStore(folder / "state" / SPEC.state_version, writable=False).close()
