"""Tables of an emulated BigQuery: the same data/ as from Parquet, one sentence for what fails, no secret anywhere."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ports import free_port
from tests.workflows.warehouse.emulators import start_bigquery
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

pytestmark = [pytest.mark.service("bigquery"), pytest.mark.slow]

BIG = 2**53 + 1
ROWS = [
    (
        BIG + i % 7,
        f"{i % 11:03}",
        f"2026-03-29 {i // 10:02}:{i % 10:02}:00",
        i % 3 == 0,
        None if i % 5 == 0 else "web",
        i % 4,
    )
    for i in range(200)
]
SCRIPT = [
    "CREATE TABLE sales.events (user_id INT64, item_id STRING, at TIMESTAMP, click BOOL, device STRING, shelf NUMERIC)",
    "CREATE TABLE sales.items (item_id STRING, brand STRING, price NUMERIC, stock BOOL, made DATE, seen DATETIME, "
    "spec JSON, big BIGNUMERIC)",
    "INSERT INTO sales.events VALUES "
    + ", ".join(
        f"({user}, '{item}', TIMESTAMP '{at}+05:30', {click}, {repr(device) if device else 'NULL'}, {shelf})"
        for user, item, at, click, device, shelf in ROWS
    ),
    "INSERT INTO sales.items VALUES "
    + ", ".join(
        f"('{i:03}', 'b{i}', {i}.25, {i != 4}, DATE '2026-01-{i + 1:02}', DATETIME '2026-03-29 02:30:00', "
        f"JSON '{{\"a\":1}}', {i})"
        for i in range(11)
    ),
]
DATA = {"timestamp": "at", "labels": ["click"], "context": ["device", "shelf"], "stock": "stock"}
TABLES = {"events": "sales.events", "items": "`shop-1.sales.items`"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    emulator = start_bigquery(port)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            from google.api_core.client_options import ClientOptions
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import bigquery

        place = f"http://127.0.0.1:{port}"
        client = bigquery.Client("shop-1", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=place))
        client.create_dataset("sales")
        for statement in SCRIPT:
            client.query(statement).result()
        client.close()
        yield place
    finally:
        emulator.close()


def prepare(root: Path, **data: Any) -> Path:
    prepare_data(Run(root), DataConfig(**{**DATA, **data}), SplitConfig(), ShopConfig(), 5)
    return root


def content(root: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(root / "data").files if file.path != "config.json"}


def test_the_same_data_as_from_parquet(endpoint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"bigquery://shop-1/sales?endpoint={endpoint}"
    given = prepare(tmp_path / "a", source=url, **TABLES)
    user, item, at, click, device, shelf = zip(*ROWS, strict=True)
    times = pa.array([f"{text}+05:30" for text in at]).cast(pa.timestamp("us", tz="UTC"))
    columns = {"user_id": user, "item_id": item, "at": times, "click": click, "device": device, "shelf": shelf}
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    ids, number = [f"{i:03}" for i in range(11)], range(11)
    items = {"item_id": ids, "brand": [f"b{i}" for i in number], "price": [i + 0.25 for i in number]}
    items |= {"stock": [i != 4 for i in number]}
    days = pa.array([f"2026-01-{i + 1:02}" for i in number]).cast(pa.date32())
    seen = pa.array(["2026-03-29 02:30:00"] * 11).cast(pa.timestamp("us"))
    items |= {"made": days, "seen": seen, "spec": ['{"a":1}'] * 11, "big": list(number)}
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    files = {table: str(tmp_path / f"{table}.parquet") for table in TABLES}
    assert content(given) == content(prepare(tmp_path / "b", **files))
    query = "SELECT * FROM events ORDER BY item_id"  # of the dataset in the URL
    assert content(prepare(tmp_path / "c", source=url, **{**TABLES, "events": query})) == content(given)
    capfd.readouterr()
    prepare(tmp_path / "a", source=url, **TABLES)
    assert "data: up to date" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "events", "message"),
    [
        (
            "{url}",
            "sales.nope",
            r"events: sales.nope: bigquery://shop-1/sales\?endpoint=.*(?i:not found).*; correct the name",
        ),
        ("{url}", "SELECT usr FROM sales.events", r'events: .*"usr" not found.*; correct the column'),
        ("{url}", "SELECT FROM WHERE", "events: .*(?i:syntax error).*; correct the query"),
        ("{url}", "sales.items", r"events: expected a column 'user_id' \(data.user_id\), got the columns item_id"),
        ("{url}", "SELECT * FROM sales.events WHERE 1 = 0", "events: expected at least one row, got none in"),
        ("{url}&token=s3cret", "sales.events", "data.source: unknown parameter 'token'; expected one of location"),
        (
            "bigquery://p/d?credentials=/s3cret.json",
            "d.events",
            "data.source: the file of credentials cannot be read as a",
        ),
        ("bigquery:///d", "d.events", "data.source: expected bigquery://PROJECT/DATASET, got no project"),
    ],
)
def test_what_fails_is_one_sentence(
    endpoint: str, tmp_path: Path, source: str, events: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    url = f"bigquery://shop-1/sales?endpoint={endpoint}"
    with pytest.raises(CascadeError, match=message) as caught:
        prepare(tmp_path / "run", source=source.format(url=url), events=events, stock=None)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
