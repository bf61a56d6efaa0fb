"""Columns that become codes keep every digit, or are refused in one sentence before anything is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.features.config import FeaturesConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_table import feature_uses
from workflows.tables.load import find_inputs, load

DECIMALS = pa.array([Decimal("1.00"), Decimal("2.50")], pa.decimal128(10, 2))
BEYOND = 2**53 + 1


def write(path: Path, x: object) -> str:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"user_id": [1, 2], "item_id": [1, 2], "at": [5, 6], "x": x}), path)
    return str(path)


def read(
    tables: dict[str, str], kind: str = "categorical", split: SplitConfig | None = None, **options: object
) -> list:
    """The values of x in the last table of `tables`, read as this kind."""
    split = split or SplitConfig()
    table = list(tables)[-1] if tables else "events"
    features = {"context" if table == "events" else table: {"x": {"kind": kind, "boundaries": [1]}}}
    data = DataConfig(**{**tables, "timestamp": "at", "context": ["x"] if table == "events" else [], **options})
    con = duckdb.connect()
    uses = feature_uses(msgspec.convert(features, FeaturesConfig))
    load(con, find_inputs(data, split), data, split, uses)
    return [row[0] for row in con.execute(f"SELECT x FROM raw_{table} ORDER BY __n").fetchall()]


@pytest.mark.parametrize("kind", ["categorical", "hashed"])
@pytest.mark.parametrize("table", ["events", "items", "users"])
@pytest.mark.parametrize(
    ("x", "wanted", "value"),
    [
        (np.array([1, 2**63], np.uint64), "codes that fit in int64", "9223372036854775808"),
        (DECIMALS, "whole numbers", "2.50"),
        (np.array([1, 2.5]), "whole numbers", "2.5"),
        (np.array([1, 2.5], np.float32), "whole numbers", "2.5"),
        (np.array([1, 1e30]), "whole numbers", "1e+30"),
    ],
)
def test_a_number_that_is_no_code_is_named_with_its_row(tmp_path, kind, table, x, wanted, value):
    tables = {"events": write(tmp_path / "e.parquet", [1, 2])}
    tables[table] = write(tmp_path / f"{table}.parquet", x)
    key = f"features.{'context' if table == 'events' else table}.x is {kind}"
    with pytest.raises(DataError) as caught:
        read(tables, kind)
    message = str(caught.value)
    assert message.startswith(f"{table}: column 'x' must hold {wanted} ({key}), got 1 row, for example row 1 (")
    assert f"x = {value}" in message
    assert "; write them as text" in message
    read(tables, "continuous")


@pytest.mark.parametrize(
    ("x", "values"),
    [
        (np.array([1, 2**63 - 1], np.uint64), [1, 2**63 - 1]),
        (pa.array([Decimal("1.00"), None], pa.decimal128(10, 2)), [1, None]),
        (np.array([1, np.nan]), [1, None]),
        (np.array([1, np.inf]), [1, None]),
    ],
)
def test_whole_numbers_of_any_type_are_codes(tmp_path, x, values):
    got = read({"events": write(tmp_path / "e.parquet", x)})
    assert [value if value is not None and np.isfinite(float(value)) else None for value in got] == values


MIXTURES = [
    (np.array([1.0, np.nan]), np.array([1, BEYOND]), "double"),
    (np.array([1.0, np.nan], np.float32), np.array([1, 2**24 + 1], np.int32), "float"),
    (np.array([1, 2], np.uint64), np.array([1, BEYOND]), "ubigint"),
]


@pytest.mark.parametrize("table", ["events", "items", "users"])
@pytest.mark.parametrize(("first", "second", "name"), MIXTURES)
def test_files_of_different_types_lose_no_digit(tmp_path, table, first, second, name):
    tables = {"events": write(tmp_path / "e.parquet", [1, 2]), table: str(tmp_path / "many")}
    write(tmp_path / "many" / "1.parquet", first)
    exact = write(tmp_path / "many" / "2.parquet", second)
    if table != "events":  # each id once
        ids = pa.table({"user_id": [3, 4], "item_id": [3, 4], "at": [5, 6], "x": second})
        pq.write_table(ids, exact)
    with pytest.raises(DataError) as caught:
        read(tables)
    message = str(caught.value)
    assert message.startswith(f"{table}: column 'x' must have one type in all files")
    assert f"in {exact} and {name} in {tmp_path}/many/1.parquet, got 1 row, for example row 1 (x = " in message
    small = pa.table({"user_id": [3, 4], "item_id": [3, 4], "at": [5, 6], "x": np.minimum(second, 9)})
    pq.write_table(small, exact)
    assert read(tables)[-2:] == [1, 9]


def test_a_condition_sees_every_digit_of_every_file(tmp_path):
    write(tmp_path / "many" / "1.parquet", np.array([1.0, 2.0]))
    write(tmp_path / "many" / "2.parquet", np.array([1, BEYOND]))
    with pytest.raises(DataError, match="events: column 'x' must have one type in all files"):
        read({"events": str(tmp_path / "many")}, labels={"y": f"x >= {BEYOND}"}, context=[])


def test_given_splits_of_different_types_lose_no_digit(tmp_path):
    paths = {"train": write(tmp_path / "train.parquet", np.array([1.0, 2.0]))}
    paths["test"] = write(tmp_path / "test.parquet", np.array([1, BEYOND]))
    with pytest.raises(DataError, match=r"must hold values of type double as split.train does, got 1 row, .* row 1"):
        read({}, split=SplitConfig(by="files", **paths))
