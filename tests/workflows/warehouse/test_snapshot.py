"""What the rows of a warehouse become: decimals settled over all rows, an order of their own, names of the config."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import ConfigError, DataError
from workflows.tables.warehouse.columns import renamed
from workflows.tables.warehouse.connection import Rows
from workflows.tables.warehouse.snapshot import contents_of, settle_rows, write_rows
from workflows.tables.warehouse.spec import from_clause

BIG = 2**53 + 1


def settled(folder: Path, values: list[Any], kind: pa.DataType, *decimals: str) -> tuple[str, list[Any]]:
    schema = pa.schema([pa.field("a", kind, metadata={"said": "by the driver"})])
    batches = [pa.record_batch([pa.array([value], kind)], schema) for value in values]
    assert write_rows(Rows(schema, iter(batches)), folder / "a.raw") == len(values)
    settle_rows(duckdb.connect(), folder / "a.raw", folder / "a.parquet", decimals, [])
    column = pq.read_table(folder / "a.parquet")["a"]
    return str(column.type), column.to_pylist()


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        ([str(BIG), None, "-3"], "int64", [-3, BIG, None]),
        (["5.00", "7.000000000"], "int64", [5, 7]),
        (["5", "7.25"], "double", [5.0, 7.25]),
        ([str(2**63 - 1)], "int64", [2**63 - 1]),
        ([str(2**63), "1"], "string", ["1", str(2**63)]),
        (["0.1", "99999999999999999999"], "double", [0.1, 1e20]),
        (["-0.5"], "double", [-0.5]),
    ],
)
def test_decimals(tmp_path: Path, texts: list[str | None], kind: str, values: list[Any]) -> None:
    (tmp_path / "d").mkdir()
    assert settled(tmp_path, texts, pa.string(), "a") == (kind, values)
    decimals = [None if text is None else Decimal(text) for text in texts]
    assert settled(tmp_path / "d", decimals, pa.decimal128(38, 9)) == (kind, values)


def test_text_is_no_number(tmp_path: Path) -> None:
    assert settled(tmp_path, ["007", "7", "1.0"], pa.string()) == ("string", ["007", "1.0", "7"])


def test_the_contents_know_no_order_but_every_value_type_and_repeat(tmp_path: Path) -> None:
    con, tables = duckdb.connect(), {}
    rows = {"one": [1, 2, 3], "turned": [3, 1, 2], "other": [1, 2, 4], "twice": [1, 2, 3, 3], "fewer": [1, 2]}
    for name, values in rows.items():
        pq.write_table(pa.table({"a": values, "b": ["x"] * len(values)}), tmp_path / name)
        tables[name] = contents_of(con, tmp_path / name)
    pq.write_table(pa.table({"a": pa.array([1, 2, 3], pa.int32()), "b": ["x"] * 3}), tmp_path / "small")
    assert tables["one"] == tables["turned"]
    others = [tables[name] for name in ("other", "twice", "fewer")] + [contents_of(con, tmp_path / "small")]
    assert all(other != tables["one"] for other in others)


NEEDED = [("user_id", "data.user_id"), ("at", "data.timestamp")]


def names(columns: list[str], known: str = "", capitals: bool = True, only: bool = False) -> dict[str, str]:
    return renamed("events", columns, NEEDED, known.split(), only_needed=only, in_capitals=capitals)


def test_names_are_those_of_the_config() -> None:
    assert names(["USER_ID", "AT", "PRICE"]) == {"USER_ID": "user_id", "AT": "at", "PRICE": "price"}
    assert names(["USER_ID", "AT", "PRICE"], "PRICE") == {"USER_ID": "user_id", "AT": "at", "PRICE": "PRICE"}
    assert names(["User_Id", "at", "PRICE"], capitals=False) == {"User_Id": "user_id", "at": "at", "PRICE": "PRICE"}
    assert names(["USER_ID", "AT", "PRICE"], only=True) == {"USER_ID": "user_id", "AT": "at"}
    assert names(["user_id", "USER_ID", "AT"], only=True) == {"user_id": "user_id", "AT": "at"}


def test_names_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(DataError, match=r"events: the columns price and PRICE differ in capitals alone"):
        names(["user_id", "at", "price", "PRICE"])
    with pytest.raises(
        DataError, match=r"events: expected a column 'at' \(data.timestamp\), got the columns user_id; "
    ):
        names(["user_id"])


@pytest.mark.parametrize(
    "spec", ["events", "shop.events", 'db."My shop".events', "`my-project.shop.events`", "a-b.shop.c"]
)
def test_tables(spec: str) -> None:
    assert from_clause("events", f" {spec} ") == spec


@pytest.mark.parametrize("spec", ["SELECT 1", "select 1;", "WITH a AS (SELECT 1) SELECT 1", "-- x\n/* y */ (SELECT 1)"])
def test_queries(spec: str) -> None:
    assert from_clause("events", spec) == f"(\n{spec.rstrip(';')}\n) AS t"


@pytest.mark.parametrize(
    "spec", ["", "events.parquet; x", "DELETE FROM shop.events", "a.b.c.d", "s3://bucket/x", "my shop"]
)
def test_what_is_neither(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.events: expected a table"):
        from_clause("events", spec)
