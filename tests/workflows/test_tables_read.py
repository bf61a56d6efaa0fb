"""Every way to name a table, every kind of timestamp and id; and what the stage remembers of its inputs."""

from __future__ import annotations

import datetime
import itertools
import os
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.split import PROPENSITY
from workflows.tables.stage import prepare_data

EVENTS = pd.DataFrame({"user_id": [1, 2, 1, 2, 3], "item_id": [7, 8, 8, 9, 7], "at": [5, 6, 7, 8, 9]})
ONLY_TRAIN = SplitConfig(valid_fraction=0.0, test_fraction=0.0)


def prepare(
    root: Path, events: object, split: SplitConfig = ONLY_TRAIN, **columns: object
) -> tuple[pd.DataFrame, dict]:
    data = DataConfig(events=events, **{"timestamp": "at", **columns})
    manifest = prepare_data(Run(root / "run"), data, split, ShopConfig(), 4)
    return pd.read_parquet(root / "run" / "data" / "train"), manifest.info


def _write(root: Path) -> None:
    """The five events as one file, as parts in nested folders, and as CSV."""
    EVENTS.to_parquet(root / "whole.parquet")
    EVENTS.to_csv(root / "whole.csv", index=False)
    EVENTS.to_csv(root / "whole.csv.gz", index=False)
    (root / "parts" / "day=2").mkdir(parents=True)
    EVENTS[:2].to_parquet(root / "parts" / "a.parquet")
    EVENTS[2:].to_parquet(root / "parts" / "day=2" / "b.parquet")
    (root / "parts" / "_SUCCESS").touch()
    (root / "flat").mkdir()
    EVENTS[:3].to_csv(root / "flat" / "1.csv", index=False)
    EVENTS[3:].to_csv(root / "flat" / "2.csv", index=False)


@pytest.mark.parametrize(
    "spec",
    [
        "whole.parquet",
        "whole.csv",
        "whole.csv.gz",
        "parts",
        "flat",
        "flat/*.csv",
        "parts/**/*.parquet",
        ["flat/1.csv", "flat/2.csv"],
    ],
)
@pytest.mark.parametrize("timestamp", ["at", None])
def test_a_file_folder_glob_or_list_reads_as_one_table(tmp_path, spec, timestamp):
    _write(tmp_path)
    paths = str(tmp_path / spec) if isinstance(spec, str) else [str(tmp_path / one) for one in spec]
    got, info = prepare(tmp_path, paths, timestamp=timestamp)
    assert got["at"].tolist() == ([5, 6, 7, 8, 9] if timestamp else [0, 1, 2, 3, 4])
    assert got.user_row.tolist() == [0, 1, 0, 1, 2]
    assert got.item_row.tolist() == [0, 1, 1, 2, 0]
    assert info["rows"] == {"train": 5, "valid": 0, "test": 0}


@pytest.mark.parametrize(
    "spec", ["memory://cascade-test/a.parquet", "memory://cascade-test", "memory://cascade-test/*.parquet"]
)
def test_a_url_is_read_through_fsspec(tmp_path, spec):
    memory = fsspec.filesystem("memory")
    EVENTS.to_parquet(tmp_path / "a.parquet")
    memory.pipe("/cascade-test/a.parquet", (tmp_path / "a.parquet").read_bytes())
    try:
        got, _ = prepare(tmp_path, spec)
    finally:
        memory.rm("/cascade-test", recursive=True)
    assert got["at"].tolist() == [5, 6, 7, 8, 9]


NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc)
NOON_NS = int(NOON.timestamp()) * 10**9
SECONDS = NOON_NS // 10**9


@pytest.mark.parametrize(
    ("column", "unit", "at"),
    [
        (pa.array([SECONDS], pa.int64()), "s", NOON_NS),
        (pa.array([SECONDS], pa.uint32()), "s", NOON_NS),
        (pa.array([SECONDS * 10**3]), "ms", NOON_NS),
        (pa.array([SECONDS * 10**6]), "us", NOON_NS),
        (pa.array([NOON_NS]), "ns", NOON_NS),
        (pa.array([SECONDS + 0.25]), "s", NOON_NS + 250_000_000),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), "datetime", NOON_NS),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), "datetime", NOON_NS),
        (pa.array([NOON], pa.timestamp("us", tz="Asia/Tokyo")), "datetime", NOON_NS),
        (pa.array([NOON.date()]), "date", NOON_NS - 12 * 3600 * 10**9),
        (pa.array([42], pa.int16()), "order", 42),
    ],
)
def test_every_kind_of_timestamp_becomes_at(tmp_path, column, unit, at):
    pq.write_table(pa.table({"user_id": [1], "item_id": [2], "at": column}), tmp_path / "e.parquet")
    got, info = prepare(tmp_path, str(tmp_path / "e.parquet"))
    assert (got["at"].tolist(), info["timestamp_unit"], info["has_timestamp"]) == ([at], unit, True)


def test_file_order_survives_many_files_and_row_groups(tmp_path):
    rows = np.arange(400_000)
    table = pa.table({"user_id": rows % 7, "item_id": rows % 11, "x": rows})
    for part in range(4):
        slice_ = table.slice(part * 100_000, 100_000)
        pq.write_table(slice_, tmp_path / f"{part}.parquet", row_group_size=9_000)
    got, _ = prepare(tmp_path, str(tmp_path / "*.parquet"), timestamp=None, context=["x"])
    assert (got["at"].to_numpy() == rows).all()
    assert (got.x.to_numpy() == rows).all()


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "uint64"])
def test_any_integer_id_is_widened(tmp_path, kind):
    EVENTS.astype({"user_id": kind, "item_id": kind}).to_parquet(tmp_path / "e.parquet")
    pd.DataFrame({"item_id": [9, 8, 7]}).to_parquet(tmp_path / "i.parquet")
    _, info = prepare(tmp_path, str(tmp_path / "e.parquet"), items=str(tmp_path / "i.parquet"))
    ids = np.load(tmp_path / "run" / "data" / "ids" / "items.npy")
    assert (ids.dtype, ids.tolist(), info["id_type"]["item"]) == (np.int64, [7, 8, 9], "int64")
    assert pd.read_parquet(tmp_path / "run" / "data" / "items.parquet").item_id.dtype == np.int64


CSV_IDS = [
    (["1", "20", "-3"], ["-3", "20", "1"], "auto", [-3, 1, 20]),
    ([" 1", "20"], ["1", "20"], "auto", [1, 20]),
    (["007", "8"], None, "auto", [b"007", b"8"]),
    (["7", "7a"], None, "auto", [b"7", b"7a"]),
    (["7", "99999999999999999999"], None, "auto", [b"7", b"99999999999999999999"]),
    (["7", "8"], ["007", "7", "8"], "auto", [b"007", b"7", b"8"]),
    (["007", "8"], None, "int64", [7, 8]),
    (["7", "10"], None, "string", [b"10", b"7"]),
    ([*map(str, range(25_000)), "007"], None, "auto", sorted([*(b"%d" % i for i in range(25_000)), b"007"])),
]


@pytest.mark.parametrize(("events", "items", "wanted", "ids"), CSV_IDS)
def test_csv_ids_are_integers_only_where_every_character_comes_back(tmp_path, events, items, wanted, ids):
    rows = "".join(f"{number % 3},{item},{number}\n" for number, item in enumerate(events))
    (tmp_path / "e.csv").write_text("user_id,item_id,at\n" + rows)
    if items:
        (tmp_path / "i.csv").write_text("item_id,x\n" + "".join(f"{item},1\n" for item in items))
    options = {"items": str(tmp_path / "i.csv")} if items else {}
    _, info = prepare(tmp_path, str(tmp_path / "e.csv"), item_id_type=wanted, **options)
    got = np.load(tmp_path / "run" / "data" / "ids" / "items.npy")
    assert got.tolist() == ids
    assert info["id_type"] == {"user": "int64", "item": "int64" if isinstance(ids[0], int) else "string"}


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_parquet_decides_the_type_of_csv_ids(tmp_path, kind):
    EVENTS.astype({"item_id": str} if kind == "string" else {}).to_parquet(tmp_path / "e.parquet")
    pd.DataFrame({"item_id": [9, 8, 7]}).to_csv(tmp_path / "i.csv", index=False)
    _, info = prepare(tmp_path, str(tmp_path / "e.parquet"), items=str(tmp_path / "i.csv"))
    assert info["id_type"]["item"] == kind


def test_dictionary_encoded_strings_are_string_ids_in_byte_order(tmp_path):
    names = ["b", "\N{GREEK SMALL LETTER ALPHA}", "Z", "a" * 255]
    table = pa.table({"user_id": [1] * 4, "item_id": pa.array(names).dictionary_encode(), "at": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "e.parquet")
    prepare(tmp_path, str(tmp_path / "e.parquet"))
    ids = np.load(tmp_path / "run" / "data" / "ids" / "items.npy")
    assert ids.dtype.kind == "S"
    assert ids.tolist() == sorted(name.encode() for name in names)


def test_unknown_items_are_dropped_when_asked_and_counted(tmp_path, capsys):
    EVENTS.to_parquet(tmp_path / "e.parquet")
    pd.DataFrame({"item_id": [7, 9]}).to_parquet(tmp_path / "i.parquet")
    got, info = prepare(tmp_path, str(tmp_path / "e.parquet"), items=str(tmp_path / "i.parquet"), unknown_items="drop")
    assert got["at"].tolist() == [5, 8, 9]
    assert info["num_dropped"] == 2
    assert "dropped 2 events" in capsys.readouterr().err


def test_labels_and_positions_of_every_type_come_out_as_the_contract_says(tmp_path):
    events = EVENTS.assign(
        a=[True, False, True, False, True], b=[0.0, 1.0, 0.0, 1.0, 0.0], p=np.arange(5, dtype=np.int64)
    )
    events.to_parquet(tmp_path / "e.parquet")
    got, info = prepare(tmp_path, str(tmp_path / "e.parquet"), labels=["a", "b"], position="p", context=["user_id"])
    assert [str(got[column].dtype) for column in ("a", "b", "p")] == ["float32", "float32", "int32"]
    assert got.a.tolist() == [1, 0, 1, 0, 1]
    assert got.b.tolist() == [0, 1, 0, 1, 0]
    assert list(got) == ["user_row", "item_row", "at", "a", "b", "p", "user_id", "history"]
    assert [history.tolist() for history in got.history] == [[], [], [0], [1], []]  # any label
    assert info["labels"] == ["a", "b"]


def test_a_propensity_is_a_probability_a_flag_or_nothing(tmp_path):
    """Null, NaN and 0 say that a policy chose; a flag weighs what chance displayed alike."""
    given = pa.array([0.25, None, 0.0, float("nan"), 1.0])
    table = pa.Table.from_pandas(EVENTS).append_column("p", given)
    table = table.append_column("flag", pa.array([True, False, None, True, False]))
    table = table.append_column("bit", pa.array([1, 0, 0, 1, 0], pa.int8()))
    pq.write_table(table, tmp_path / "e.parquet")
    pacsv.write_csv(table, tmp_path / "e.csv")
    wanted = (("p", [0.25, -1, -1, -1, 1]), ("flag", [1, -1, -1, 1, -1]), ("bit", [1, -1, -1, 1, -1]))
    for name, (column, expected) in itertools.product(("e.parquet", "e.csv"), wanted):
        got, _ = prepare(tmp_path, str(tmp_path / name), propensity=column, context=["bit"] * (column == "p"))
        assert got[PROPENSITY].fillna(-1).tolist() == expected
        assert column not in got


def test_odd_column_names_are_only_names(tmp_path):
    odd = {"user_id": 'u"; DROP TABLE raw_events; --', "item_id": "item id", "at": "when?"}
    EVENTS.rename(columns=odd).to_parquet(tmp_path / "it's.parquet")
    got, _ = prepare(
        tmp_path, str(tmp_path / "it's.parquet"), user_id=odd["user_id"], item_id=odd["item_id"], timestamp=odd["at"]
    )
    assert got.item_row.tolist() == [0, 1, 1, 2, 0]


def test_a_rerun_is_a_no_op_until_an_input_file_changes(tmp_path):
    EVENTS.to_parquet(tmp_path / "e.parquet")
    prepare(tmp_path, str(tmp_path / "e.parquet"))
    manifest = tmp_path / "run" / "data" / "manifest.json"
    first = manifest.stat().st_mtime_ns
    prepare(tmp_path, str(tmp_path / "e.parquet"))
    assert manifest.stat().st_mtime_ns == first
    EVENTS.assign(item_id=1).to_parquet(tmp_path / "e.parquet")
    got, _ = prepare(tmp_path, str(tmp_path / "e.parquet"))
    assert got.item_row.tolist() == [0] * 5
    assert not (tmp_path / "run" / ".data.scratch").exists()


def test_a_run_may_stand_in_a_folder_of_any_name(tmp_path, monkeypatch):
    root = tmp_path / "r [1] *?'\"é#%41 $HOME"
    root.mkdir()
    monkeypatch.chdir(root)
    EVENTS.to_parquet(root / "events[1]?.parquet")
    for base in (root, Path("relative ?*")):
        got, _ = prepare(base, "events[1]?.parquet")
        assert got["at"].tolist() == [5, 6, 7, 8, 9]
        assert sorted(path.name for path in (base / "run").iterdir()) == ["data"]
    assert sorted(path.name for path in root.iterdir()) == ["events[1]?.parquet", "relative ?*", "run"]


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_minus_one_may_be_a_user_and_as_text_an_item(tmp_path, end):
    ends = [-(2**63), -2, 0, 2**53 + 1, 2**63 - 1]
    events = EVENTS.assign(user_id=[-1, *ends[1:]], item_id=ends)
    events.to_parquet(tmp_path / "e.parquet")
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(tmp_path, f"{tmp_path}/e.{end}")
    ids = {side: np.load(tmp_path / "run" / "data" / "ids" / f"{side}.npy").tolist() for side in ("users", "items")}
    assert ids == {"users": sorted([-1, *ends[1:]]), "items": ends}
    events.assign(item_id=[-1, *ends[1:]]).to_parquet(tmp_path / "e.parquet")
    events.assign(item_id=[-1, *ends[1:]]).to_csv(tmp_path / "e.csv", index=False)
    prepare(tmp_path, f"{tmp_path}/e.{end}", item_id_type="string")
    texts = sorted(str(item).encode() for item in [-1, *ends[1:]])
    assert np.load(tmp_path / "run" / "data" / "ids" / "items.npy").tolist() == texts


def test_a_large_file_of_the_same_size_and_time_is_read_again_when_its_content_differs(tmp_path):
    path = tmp_path / "e.csv"
    lines = [f"{u:06},{u % 7},{u}" for u in range(100_000)]
    path.write_text("\n".join(["user_id,item_id,at", *lines]))
    assert path.stat().st_size > 1 << 20
    prepare(tmp_path, str(path))
    times, size = (path.stat().st_atime_ns, path.stat().st_mtime_ns), path.stat().st_size
    lines[50_000] = f"{50_000:06},9,50000"
    path.write_text("\n".join(["user_id,item_id,at", *lines]))
    os.utime(path, ns=times)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, times[1])
    _, info = prepare(tmp_path, str(path))
    assert info["num_items"] == 8
