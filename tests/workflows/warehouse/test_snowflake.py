"""Tables of an emulated Snowflake: the same data/ as from Parquet, one sentence for what fails, no secret anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ports import free_port
from tests.workflows.warehouse.emulators import Emulator, start_snowflake
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data
from workflows.tables.warehouse.snowflake import VARIABLES

pytestmark = [pytest.mark.service("snowflake"), pytest.mark.slow]

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
    "CREATE DATABASE IF NOT EXISTS shop",
    "USE DATABASE shop",
    "CREATE SCHEMA IF NOT EXISTS sales",
    "CREATE TABLE sales.events (user_id NUMBER(38, 0), item_id VARCHAR, seen_at TIMESTAMP_NTZ, click BOOLEAN, "
    "device VARCHAR, shelf NUMBER(10, 2), other NUMBER)",
    'CREATE TABLE sales.items (item_id VARCHAR, brand VARCHAR, price NUMBER(10, 2), "Size" NUMBER, stock BOOLEAN, '
    "made DATE)",
    "INSERT INTO sales.events VALUES "
    + ", ".join(
        f"({user}, '{item}', '{at}', {click}, {repr(device) if device else 'NULL'}, {shelf}, 1)"
        for user, item, at, click, device, shelf in ROWS
    ),
    "INSERT INTO sales.items VALUES "
    + ", ".join(f"('{i:03}', 'b{i}', {i}.25, {i * 2}, {i != 4}, '2026-01-{i + 1:02}')" for i in range(11)),
]
DATA = {"timestamp": "seen_at", "labels": ["click"], "context": ["device", "shelf"], "stock": "stock"}
TABLES = {"events": "sales.events", "items": "SALES.ITEMS"}


class Server:
    def __init__(self) -> None:
        self.port = free_port()
        self.emulator: Emulator = start_snowflake(self.port)

    def url(self, login: str = "fake:s3cret%2Fpw") -> str:
        return f"snowflake://{login}@fakesnow/SHOP/SALES?host=127.0.0.1&port={self.port}&protocol=http"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    from adbc_driver_snowflake import dbapi

    server = Server()
    try:
        sql = "adbc.snowflake.sql"
        place = {f"{sql}.uri.host": "127.0.0.1", f"{sql}.uri.port": str(server.port), f"{sql}.uri.protocol": "http"}
        login = {"username": "fake", "password": "s3cret", f"{sql}.account": "fakesnow"}
        with dbapi.connect(db_kwargs=place | login) as connection, connection.cursor() as cursor:
            for statement in SCRIPT:
                cursor.execute(statement)
            connection.commit()
        yield server
    finally:
        server.emulator.close()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (name for names in VARIABLES.values() for name in names):
        monkeypatch.delenv(variable, raising=False)


def prepare(root: Path, **data: Any) -> Path:
    prepare_data(Run(root), DataConfig(**{**DATA, **data}), SplitConfig(), ShopConfig(), 5)
    return root


def content(root: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(root / "data").files if file.path != "config.json"}


def test_the_same_data_as_from_parquet(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given = prepare(tmp_path / "a", source=server.url(), **TABLES)
    user, item, at, click, device, shelf = zip(*ROWS, strict=True)
    times = pa.array(at).cast(pa.timestamp("ns"))
    columns = {"user_id": user, "item_id": item, "seen_at": times, "click": click, "device": device, "shelf": shelf}
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    ids, number = [f"{i:03}" for i in range(11)], range(11)
    items = {"item_id": ids, "brand": [f"b{i}" for i in number], "price": [i + 0.25 for i in number]}
    items |= {"Size": [2 * i for i in number], "stock": [i != 4 for i in number]}
    days = pa.array([f"2026-01-{i + 1:02}" for i in number]).cast(pa.date32())
    pq.write_table(pa.table(items | {"made": days}), tmp_path / "items.parquet")
    files = {table: str(tmp_path / f"{table}.parquet") for table in TABLES}
    assert content(given) == content(prepare(tmp_path / "b", **files))
    monkeypatch.setenv("SNOWFLAKE_USER", "fake")
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "s3cret/pw")
    query = "WITH all_rows AS (SELECT * FROM sales.events) SELECT * FROM all_rows ORDER BY item_id;"
    url = f"snowflake:///SHOP?account=fakesnow&host=127.0.0.1&port={server.port}&protocol=http"
    assert content(prepare(tmp_path / "c", source=url, **{**TABLES, "events": query})) == content(given)
    said = "".join(capfd.readouterr())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "s3cret" not in said
    assert b"s3cret" not in written
    capfd.readouterr()
    prepare(tmp_path / "a", source=server.url(), **TABLES)
    assert "data: up to date" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "events", "message"),
    [
        (
            "{url}",
            "sales.nope",
            r"events: sales.nope: snowflake://fake@fakesnow/SHOP/SALES.* does not exist.*; correct the name",
        ),
        ("{url}", "SELECT usr FROM sales.events", r"events: .*(?i:usr).*; correct the column in the query"),
        ("{url}", "SELECT FROM WHERE", "events: SELECT FROM WHERE: .*Expected table name.*; check data.source and"),
        ("{url}", "sales.items", r"events: expected a column 'user_id' \(data.user_id\), got the columns"),
        ("{url}", "SELECT * FROM sales.events WHERE 1 = 0", "events: expected at least one row, got none in"),
        (
            "{url}&colour=s3cret",
            "sales.events",
            "data.source: unknown parameter 'colour'; expected one of account, user",
        ),
        ("{url}&authenticator=no", "sales.events", "data.source: authenticator = 'no'; expected one of snowflake"),
        ("{url}&private_key_file=/s3cret", "sales.events", "the file of private_key_file cannot be read as PEM"),
    ],
)
def test_what_fails_is_one_sentence(
    server: Server, tmp_path: Path, source: str, events: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CascadeError, match=message) as caught:
        prepare(tmp_path / "run", source=source.format(url=server.url()), events=events, stock=None)
    assert "s3cret" not in str(caught.value) + "".join(capfd.readouterr())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert re.match(r"(events|data\.source):", str(caught.value))
