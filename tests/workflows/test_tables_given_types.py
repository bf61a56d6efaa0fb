"""Files of given splits need no common schema: what one type can hold is read as that, what none can is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

ROWS = pd.DataFrame({"user": [1, 2, 3], "item": [7, 8, 7], "at": [5, 6, 7], "label": [0, 1, 1], "x": [1, 2, 3]})


def prepare(root: Path, tables: dict[str, tuple[str, pd.DataFrame]], **options: object) -> dict[str, pd.DataFrame]:
    """Write a file a split, run the stage and give what it wrote of each split."""
    paths = {}
    for split, (end, table) in tables.items():
        paths[split] = f"{root}/{split}.{end}"
        table.to_csv(paths[split], index=False) if end == "csv" else table.to_parquet(paths[split])
    names = {"user_id": "user", "item_id": "item", "timestamp": "at", "labels": ["label"], "context": ["x"]}
    data = DataConfig(**{**names, **options})
    prepare_data(Run(root / "run"), data, SplitConfig(by="files", valid_fraction=0.0, **paths), ShopConfig(), 4)
    return {split: pd.read_parquet(root / "run" / "data" / split) for split in tables}


def refusal(root: Path, tables: dict[str, tuple[str, pd.DataFrame]], **options: object) -> str:
    with pytest.raises(DataError) as caught:
        prepare(root, tables, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(root), "DIR")


def ids(root: Path, side: str) -> list:
    return np.load(root / "run" / "data" / "ids" / f"{side}.npy").tolist()


INTEGERS = ("int8", "uint8", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("kinds", [(a, b) for a in INTEGERS for b in INTEGERS if a != b])
def test_integers_of_any_widths_are_one_type(tmp_path, kinds):
    first, second = (ROWS.astype(kind) for kind in kinds)
    got = prepare(tmp_path, {"train": ("parquet", first), "test": ("parquet", second)})
    for table in got.values():
        assert (table["at"].tolist(), table.label.tolist(), table.x.tolist()) == ([5, 6, 7], [0, 1, 1], [1, 2, 3])
    assert (ids(tmp_path, "users"), ids(tmp_path, "items")) == ([1, 2, 3], [7, 8])


@pytest.mark.parametrize("ends", [("parquet", "csv"), ("csv", "parquet")])
def test_integers_of_csv_are_those_of_narrow_parquet(tmp_path, ends):
    tables = {"train": (ends[0], ROWS.astype("int32")), "test": (ends[1], ROWS.astype("int32"))}
    got = prepare(tmp_path, tables)
    assert got["train"].x.tolist() == got["test"].x.tolist() == [1, 2, 3]
    assert ids(tmp_path, "users") == [1, 2, 3]


def test_a_text_among_integers_is_named_with_its_row_and_the_way_out(tmp_path):
    odd = ROWS.assign(user=["1", "007", "3"])
    tables = {"train": ("parquet", ROWS), "valid": ("csv", ROWS), "test": ("csv", odd)}
    assert refusal(tmp_path, tables) == (
        "events: id column 'user' must hold integers as split.train does, got 1 row, for example row 1 of "
        "DIR/test.csv in split.test (user = '007', item = '8'); correct these ids, or set data.user_id_type = 'string' "
        "to read all of them as text"
    )
    prepare(tmp_path, tables, user_id_type="string")
    assert ids(tmp_path, "users") == [b"007", b"1", b"2", b"3"]
    prepare(tmp_path, tables, user_id_type="int64")
    assert ids(tmp_path, "users") == [1, 2, 3, 7]
    message = refusal(tmp_path, {**tables, "test": ("csv", ROWS.assign(x=["1", "2", "two"]))})
    assert "column 'x' must hold integers as split.train does, got 1 row, for example row 2 of DIR/test.csv" in message


def test_integers_of_csv_are_text_beside_text(tmp_path):
    texts = ROWS.assign(user=["1", "b", "c"], x=["1", "b", "c"])
    got = prepare(tmp_path, {"train": ("parquet", texts), "test": ("csv", ROWS)})
    assert (got["test"].x.tolist(), ids(tmp_path, "users")) == (["1", "2", "3"], [b"1", b"2", b"3", b"b", b"c"])


def test_ids_of_parquet_that_contradict_each_other_need_a_word_of_the_config(tmp_path):
    tables = {"train": ("parquet", ROWS), "test": ("parquet", ROWS.assign(user=["1", "02", "3"]))}
    assert "id column 'user' holds varchar in DIR/test.parquet, but bigint in DIR/train.parquet" in refusal(
        tmp_path, tables
    )
    prepare(tmp_path, tables, user_id_type="string")
    assert ids(tmp_path, "users") == [b"02", b"1", b"2", b"3"]
    prepare(tmp_path, tables, user_id_type="int64")
    assert ids(tmp_path, "users") == [1, 2, 3]


def test_an_id_beyond_int64_in_one_split_is_named(tmp_path):
    big = ROWS.astype({"user": "uint64"})
    big.loc[2, "user"] = np.uint64(2**64 - 1)
    tables = {"train": ("parquet", ROWS), "test": ("parquet", big)}
    message = refusal(tmp_path, tables)
    assert "must hold values of type bigint as split.train does, got 1 row, for example row 2 of DIR/test.pa" in message
    prepare(tmp_path, tables, user_id_type="string")
    assert b"18446744073709551615" in ids(tmp_path, "users")


@pytest.mark.parametrize("label", [ROWS.label == 1, ROWS.label.astype("float32"), ROWS.label.astype("int8")])
def test_labels_of_any_kind_stand_side_by_side(tmp_path, label):
    got = prepare(tmp_path, {"train": ("parquet", ROWS.assign(label=label)), "test": ("parquet", ROWS)})
    assert got["train"].label.tolist() == got["test"].label.tolist() == [0, 1, 1]


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_timestamps_of_any_kind_are_one_clock(tmp_path, end):
    timestamps = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])
    first = ROWS.assign(at=timestamps.astype("datetime64[ms]"))
    second = ROWS.assign(at=timestamps.astype("datetime64[ns]").tz_localize("UTC") if end == "parquet" else timestamps)
    got = prepare(tmp_path, {"train": ("parquet", first), "test": (end, second)})
    assert got["train"]["at"].tolist() == got["test"]["at"].tolist() == timestamps.astype("int64").tolist()
    message = refusal(tmp_path, {"train": ("parquet", ROWS), "test": (end, second)})
    assert "split.test: column 'at' holds timestamp" in message or "column 'at' holds date" in message
    assert f"in DIR/test.{end}, but bigint in DIR/train.parquet (split.train)" in message
