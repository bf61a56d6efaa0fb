"""The same rows in Postgres, Snowflake, BigQuery and Parquet: the same data/, and the same sentences for what fails."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.workflows.warehouse.proxy import passing
from tests.workflows.warehouse.served import SERVERS, Served
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

BIG = 2**53 + 1
NAMES = ("user_id", "item_id", "seen_at", "click", "device", "shelf", "price")
KOLKATA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
START = datetime.datetime(2026, 3, 29, 2, 30, tzinfo=KOLKATA)
ROWS = [
    (
        BIG + i % 7,
        f"{i % 11:03}",
        START + i * datetime.timedelta(minutes=37),
        i % 3 == 0,
        None if i % 5 == 0 else "web",
        Decimal(i % 4),
        Decimal(i) / 4,
    )
    for i in range(200)
]
DATA = {"timestamp": "seen_at", "labels": ["click"], "context": ["device", "shelf", "price"]}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.service(name), pytest.mark.slow]) for name in SERVERS],
)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = SERVERS[request.param]()
    try:
        yield served
    finally:
        served.close()


def create(server: Served, table: str, rows: list[tuple[Any, ...]]) -> str:
    """A new table of rows; its name."""
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, server.types, strict=True))
    server.execute(f"CREATE TABLE sales.{table} ({columns})")
    if rows:
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        server.execute(f"INSERT INTO sales.{table} VALUES {values}")
    return f"sales.{table}"


def _literal(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return f"CAST('{value.isoformat(sep=' ')}' AS TIMESTAMP WITH TIME ZONE)"
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value).lower()


def prepare(root: Path, **data: Any) -> Path:
    prepare_data(Run(root), DataConfig(**{**DATA, **data}), SplitConfig(), ShopConfig(), 5)
    return root


def content(root: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(root / "data").files if file.path != "config.json"}


def parquet(path: Path, rows: list[tuple[Any, ...]]) -> str:
    kinds = (pa.int64(), pa.string(), pa.timestamp("us", "UTC"), pa.bool_(), pa.string(), pa.int64(), pa.float64())
    columns = {
        name: pa.array([float(v) if isinstance(v, Decimal) else v for v in values]).cast(kind)
        for name, kind, values in zip(NAMES, kinds, zip(*rows, strict=True), strict=True)
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def failure(root: Path, **data: Any) -> str:
    with pytest.raises(CascadeError) as caught:
        prepare(root, **data)
    assert not [path for path in root.rglob("*") if path.is_file()] if root.exists() else True
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_zones_decimals_nulls_and_long_ids_give_the_data_of_parquet(server: Served, tmp_path: Path) -> None:
    events = create(server, "events", ROWS)
    given = prepare(tmp_path / "a", source=server.url(server.port), events=events)
    assert content(given) == content(prepare(tmp_path / "b", events=parquet(tmp_path / "events.parquet", ROWS)))
    assert b"s3cret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_column_renamed_since_is_one_sentence_and_the_earlier_result_stays(server: Served, tmp_path: Path) -> None:
    events = create(server, "renamed", ROWS)
    before = content(prepare(tmp_path, source=server.url(server.port), events=events))
    server.execute(f"ALTER TABLE {events} RENAME COLUMN click TO clicked")
    with pytest.raises(DataError, match=r"events: expected a column 'click' \(data\.labels\), got .*clicked"):
        prepare(tmp_path, source=server.url(server.port), events=events)
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".lock")] == ["data"]


def test_an_empty_table_is_one_sentence(server: Served, tmp_path: Path) -> None:
    said = failure(tmp_path / "run", source=server.url(server.port), events=create(server, "bare", []))
    assert said.startswith("events: expected at least one row, got none in sales.bare of")


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_null_ids_are_the_sentence_of_parquet(server: Served, tmp_path: Path, column: str) -> None:
    place = NAMES.index(column)
    rows = [(*row[:place], None, *row[place + 1 :]) if i == 7 else row for i, row in enumerate(ROWS)]
    said = failure(tmp_path / "a", source=server.url(server.port), events=create(server, f"null_{column}", rows))
    expected = failure(tmp_path / "b", events=parquet(tmp_path / "events.parquet", rows))
    assert re.sub(r"row \d+", "row", said) == re.sub(r"row \d+", "row", expected)


def test_a_connection_lost_on_the_way_is_one_sentence_and_the_same_command_goes_on(
    server: Served, tmp_path: Path
) -> None:
    events = create(server, "long", ROWS)
    query = f"SELECT e.* FROM {events} e CROSS JOIN {events} f"
    before = content(prepare(tmp_path, source=server.url(server.port), events=events))
    with passing(server.port) as proxy:
        prepare(tmp_path / "whole", source=server.url(proxy.port), events=query)
    with passing(server.port) as cut:
        cut.left = proxy.passed * 3 // 4
        with pytest.raises(DataError, match=r"^events: SELECT e\.\* .*run the same command again") as caught:
            prepare(tmp_path, source=server.url(cut.port), events=query)
        assert cut.left <= 0
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".lock")} == {"data", "whole"}
    assert content(prepare(tmp_path, source=server.url(server.port), events=query)) == content(tmp_path / "whole")
