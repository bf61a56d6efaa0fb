"""Where several files make a table, a refusal names the file and the row inside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

SIZE = 60
FAULTS = [
    ("user", None, "column 'user' must hold no nulls"),
    ("item", -1, "item id column 'item' must not hold -1"),
    ("at", None, "column 'at' must hold no nulls"),
    ("at", "9999-12-31 00:00:00", "must lie between 1677-09-22 and 2262-04-11"),
    ("label", 2, "label column 'label' must hold 0, 1 or booleans"),
    ("place", 2**40, "position column 'place' must fit in int32"),
]


def events() -> pd.DataFrame:
    rows = range(SIZE)
    timestamps = [f"2024-01-01 00:00:{second:02}" for second in rows]
    return pd.DataFrame(
        {"user": [n % 7 for n in rows], "item": [n % 5 for n in rows], "at": timestamps, "label": [n % 2 for n in rows]}
    ).assign(place=1)


def with_fault(column: str, value: object, row: int) -> pd.DataFrame:
    table = events().astype({column: object})
    table.loc[row, column] = value
    return table


def write(path: Path, table: pd.DataFrame) -> None:
    if path.suffix == ".csv":
        path.write_text("\n\n" * (path.stem == "1") + table.to_csv(index=False))  # empty lines are no rows
        return
    timestamps = pa.array(
        np.array(["NaT" if timestamp is None else timestamp for timestamp in table["at"]], "datetime64[us]")
    )
    whole = table.drop(columns="at").astype("Int64")
    pq.write_table(pa.Table.from_pandas(whole, preserve_index=False).append_column("at", timestamps), path)


def refusal(root: Path, events: object = "", split: SplitConfig | None = None, **options: object) -> str:
    given = {"user_id": "user", "item_id": "item", "timestamp": "at", "labels": ["label"], "position": "place"}
    data = DataConfig(**{**given, "events": events, **options})
    with pytest.raises(DataError) as caught:
        prepare_data(Run(root / "run"), data, split or SplitConfig(), ShopConfig(), 4)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("end", ["csv", "parquet"])
@pytest.mark.parametrize(("column", "value", "reason"), FAULTS)
def test_the_file_of_a_folder_and_its_row_are_named(tmp_path, end, column, value, reason):
    folder = tmp_path / "e"
    folder.mkdir()
    for name in ("0", "1", "3"):
        write(folder / f"{name}.{end}", events())
    write(folder / f"2.{end}", with_fault(column, value, 50))
    message = refusal(tmp_path, str(folder))
    assert reason in message
    assert f"1 row, for example row 50 of {folder}/2.{end} (user = " in message


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_the_split_of_a_row_is_named_even_where_each_has_one_file(tmp_path, end):
    for name in ("train", "valid"):
        write(tmp_path / f"{name}.{end}", events())
    write(tmp_path / f"test.{end}", with_fault("at", None, 10))
    paths = {name: f"{tmp_path}/{name}.{end}" for name in ("train", "valid", "test")}
    message = refusal(tmp_path, split=SplitConfig(by="files", **paths))
    assert f"1 row, for example row 10 of {tmp_path}/test.{end} in split.test (user = " in message


def test_items_and_unknown_items_are_named_by_file(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.parquet", events())
    (tmp_path / "i1.csv").write_text("item,x\n0,1\n1,2\n")
    (tmp_path / "i2.csv").write_text('item,x\n2,"two\nlines"\n3,1\n1,2\n')
    paths = [f"{tmp_path}/{name}.parquet" for name in "ab"]
    items = [f"{tmp_path}/i{n}.csv" for n in (1, 2)]
    assert f"2 rows, for example row 1 of {tmp_path}/i1.csv (item = 1, x = '2')" in refusal(
        tmp_path, paths, items=items
    )
    (tmp_path / "i2.csv").write_text('item,x\n2,"two\nlines"\n,1\n')
    assert f"1 row, for example row 1 of {tmp_path}/i2.csv (item = null, x = '1')" in refusal(
        tmp_path, paths, items=items
    )
    (tmp_path / "i2.csv").write_text("item,x\n2,3\n3,1\n")
    message = refusal(tmp_path, paths, items=items)
    assert f"unknown items in 24 rows, for example row 4 of {tmp_path}/a.parquet (user = 4, item = 4" in message
