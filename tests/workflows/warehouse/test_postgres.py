"""Tables of a real Postgres: the same data/ as from Parquet, one sentence for what fails, no secret anywhere."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from scripts.cli import app
from tests.ensemble.serving.processes import eventually
from tests.small_disk import small_disk
from tests.workflows.warehouse.servers import PASSWORD, PostgresServer
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data
from workflows.tables.warehouse import address

pytestmark = pytest.mark.service("postgres")

BIG = 2**53 + 1
SCHEMA = f"""
CREATE SCHEMA shop;
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE TABLE shop.events (user_id bigint, item_id text, at timestamptz, click boolean, device text, shelf numeric,
  note uuid);
INSERT INTO shop.events SELECT {BIG} + i % 7, lpad((i % 11)::text, 3, '0'), timestamptz '2026-03-29T02:30+05:30'
  + i * interval '37 minutes', i % 3 = 0, CASE WHEN i % 5 = 0 THEN NULL ELSE 'web' END, i % 4, gen_random_uuid()
  FROM generate_series(0, 199) i;
CREATE TABLE shop.items (item_id text, "Brand" text, price numeric(10, 2), size numeric, long numeric, mood mood,
  stock boolean, made date, seen timestamp, tags text[], twelve char(5), code uuid, spec jsonb);
INSERT INTO shop.items SELECT lpad(i::text, 3, '0'), CASE WHEN i = 3 THEN NULL ELSE 'b' || i END, i + 0.25, i * 2,
  12345678901234567890 + i, (ARRAY['calm', 'loud']::mood[])[1 + i % 2], i <> 4, date '2026-01-01' + i,
  timestamp '2026-03-29T02:30' + i * interval '1 hour', ARRAY['x', 'y' || i], 'ab', gen_random_uuid(), '{{"a": 1}}'
  FROM generate_series(0, 10) i;
CREATE TABLE shop.empty (user_id bigint, item_id text, at timestamptz, click boolean);
CREATE TABLE shop.secret AS SELECT * FROM shop.events;
CREATE ROLE guest LOGIN PASSWORD 'guest';
GRANT USAGE ON SCHEMA shop TO guest;
GRANT SELECT ON shop.events TO guest;
ALTER ROLE guest SET TimeZone = 'Asia/Kolkata';
"""
BY_TIME = SplitConfig()
DATA = {
    "user_id": "user_id",
    "item_id": "item_id",
    "timestamp": "at",
    "labels": ["click"],
    "context": ["device", "shelf"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        execute(server, SCHEMA)
        yield server
    finally:
        server.close()


def execute(server: PostgresServer, script: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.url()) as connection, connection.cursor() as cursor:
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        connection.commit()


def write(server: PostgresServer, query: str, path: Path) -> pa.Table:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.url()) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        table = cursor.fetch_arrow_table()
    pq.write_table(table.replace_schema_metadata(None), path)
    return table


def prepare(root: Path, split: SplitConfig = BY_TIME, **data: Any) -> Path:
    prepare_data(Run(root), DataConfig(**{**DATA, **data}), split, ShopConfig(), 5)
    return root


def is_asleep(server: PostgresServer) -> bool:
    """Whether the rows of a query that sleeps are on their way."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.url()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        return bool(cursor.fetchone()[0])


def content(root: Path) -> dict[str, str]:
    """Checksum of each file of data/ but the config."""
    return {file.path: file.sha256 for file in read_manifest(root / "data").files if file.path != "config.json"}


def failure(root: Path, split: SplitConfig = BY_TIME, **data: Any) -> str:
    with pytest.raises(CascadeError) as caught:
        prepare(root, split, **data)
    assert not [path for path in root.rglob("*") if path.is_file()] if root.exists() else True
    said = str(caught.value)
    assert PASSWORD not in said and "s3cret" not in said
    assert "\n" not in said
    assert caught.value.__cause__ is None
    return said


def test_the_same_data_as_from_parquet(server: PostgresServer, tmp_path: Path) -> None:
    given = prepare(tmp_path / "a", source=server.url(), events="shop.events", items="shop.items", stock="stock")
    events = "SELECT user_id, item_id, at, click, device, shelf::bigint AS shelf FROM shop.events"
    assert max(write(server, events, tmp_path / "events.parquet")["user_id"].to_pylist()) == BIG + 6
    columns = 'item_id, "Brand", price::float8 AS price, size::bigint AS size, long::text AS long, mood::text AS mood'
    columns += ", stock, made, seen, tags, twelve::text AS twelve, code::text AS code, spec::text AS spec"
    write(server, f"SELECT {columns} FROM shop.items", tmp_path / "items.parquet")
    files = {table: str(tmp_path / f"{table}.parquet") for table in ("events", "items")}
    from_files = prepare(tmp_path / "b", stock="stock", **files)
    assert content(given) == content(from_files)
    assert not list(given.glob(".data*"))


def test_zones_and_queries_are_of_the_same_rows(server: PostgresServer, tmp_path: Path) -> None:
    events = prepare(tmp_path / "a", source=server.url(), events="shop.events")
    kolkata = prepare(tmp_path / "b", source=server.url("guest:guest"), events='"shop"."events"')
    query = "-- rows\nSELECT * FROM shop.events WHERE shelf < 2 ORDER BY random(); "
    parts = [query, "WITH rest AS (SELECT * FROM shop.events WHERE shelf >= 2) SELECT * FROM rest"]
    assert content(events) == content(kolkata) == content(prepare(tmp_path / "c", source=server.url(), events=parts))


def test_names_that_differ_in_capitals_alone_are_found(server: PostgresServer, tmp_path: Path) -> None:
    query = 'SELECT user_id AS "USER_ID", item_id AS "Item_Id", at, click, device, shelf FROM shop.events'
    given = prepare(tmp_path / "a", source=server.url(), events=query)
    assert content(given) == content(prepare(tmp_path / "b", source=server.url(), events="shop.events"))
    twice = 'SELECT *, 1 AS "Device", 2 AS "AT" FROM shop.events'
    assert content(prepare(tmp_path / "c", source=server.url(), events=twice)) == content(given)


def test_a_split_may_be_given_by_tables(server: PostgresServer, tmp_path: Path) -> None:
    split = SplitConfig(
        by="files",
        train="SELECT * FROM shop.events WHERE at < '2026-03-31'",
        test="SELECT * FROM shop.events WHERE at >= '2026-03-31'",
        valid_fraction=0.0,
    )
    info = read_manifest(prepare(tmp_path / "a", split, source=server.url()) / "data").info
    assert info["rows"]["train"] + info["rows"]["test"] == 200


def test_an_unchanged_table_does_not_run_the_stage_again(
    server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(server, "CREATE TABLE shop.moving AS SELECT * FROM shop.events")
    prepare(tmp_path, source=server.url(), events="shop.moving")
    before = content(tmp_path)
    # The rows are written anew and so stand in another order; the column "note" is not read.
    execute(server, "UPDATE shop.moving SET note = gen_random_uuid() WHERE shelf <> 1")
    capsys.readouterr()
    prepare(tmp_path, source=server.url(), events="shop.moving")
    assert "data: up to date" in capsys.readouterr().err
    execute(server, "UPDATE shop.moving SET device = 'app' WHERE ctid = (SELECT min(ctid) FROM shop.moving)")
    prepare(tmp_path, source=server.url(), events="shop.moving")
    assert "data: up to date" not in capsys.readouterr().err
    assert content(tmp_path) != before


def test_what_a_killed_process_left_is_gone(server: PostgresServer, tmp_path: Path) -> None:
    left = tmp_path / ".data.warehouse"
    left.mkdir()
    (left / "events_0.parquet").write_bytes(b"half")
    prepare(tmp_path, source=server.url(), events="shop.events")
    assert not left.exists()


@pytest.mark.parametrize("size", [600 << 10, 4 << 20], ids=["600k", "4m"])
def test_a_full_disk_is_one_sentence(server: PostgresServer, tmp_path: Path, size: int) -> None:
    """While the rows come, and while they are put in order."""
    with small_disk(tmp_path / "small", size) as folder:
        many = "SELECT e.user_id + i AS user_id, md5(i::text) AS item_id, at, click, device, shelf FROM shop.events e, "
        with pytest.raises(CascadeError, match=r"^data: the disk of .* is full; free some space and run the same"):
            prepare(folder / "run", source=server.url(), events=f"{many} generate_series(1, 400) i")
        assert not [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_and_no_line_holds_a_secret(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path / "a", source=server.url(), events="shop.events", items="shop.items")
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    prepare(tmp_path / "b", source=server.url("cascade:${SHOP_PASSWORD}"), events="shop.events", items="shop.items")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setattr(address, "_secrets", {})  # as in a process that was told no password
    prepare(tmp_path / "c", source=server.url("cascade"), events="shop.events", items="shop.items")
    parameter = f"{server.url('cascade')}?password=s3cret%2Fp%40ss%20word&sslmode=disable"
    prepare(tmp_path / "d", source=parameter, events="shop.events", items="shop.items")
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c") == content(tmp_path / "d")
    saved = {name: (tmp_path / name / "data" / "config.json").read_text() for name in "abcd"}
    assert f"postgresql://cascade@127.0.0.1:{server.port}/postgres" in saved["a"]
    assert "cascade:${SHOP_PASSWORD}@" in saved["b"]
    assert "sslmode=disable" in saved["d"]
    said = "".join(capfd.readouterr())
    assert "read from postgresql://cascade@127.0.0.1" in said
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in ("s3cret", PASSWORD):
        assert secret not in said
        assert secret.encode() not in written


ERRORS = [
    (
        {"source": "{url}", "events": "shop.event"},
        r'events: shop\.event: .*relation "shop.event" does not exist; correct the name',
    ),
    ({"source": "{url}", "events": "SELECT usr FROM shop.events"}, r'column "usr" does not exist; correct the column'),
    ({"source": "{url}", "events": "SELECT FROM WHERE"}, r"syntax error.*; correct the query"),
    ({"source": "{url}", "events": "nowhere.events"}, r'"nowhere.events" does not exist'),
    (
        {"source": "{url}", "events": "shop.empty", "context": []},
        r"events: expected at least one row, got none in shop.empty of",
    ),
    (
        {"source": "{url}", "events": "shop.items"},
        r"events: expected a column 'user_id' \(data.user_id\), got the columns",
    ),
    ({"source": "{guest}", "events": "shop.secret"}, r"permission denied for table secret; give this user the right"),
    (
        {"source": "{url}x", "events": "shop.events"},
        r'data.source: .*database "postgresx" does not exist; correct data.source',
    ),
    (
        {"source": "{wrong}", "events": "shop.events"},
        r"data.source: .*password authentication failed.*; correct the user and",
    ),
    ({"source": "{nobody}", "events": "shop.events"}, r"data.source: .*password.*; correct the user and the password"),
    ({"source": "{away}", "events": "shop.events"}, r"data.source: .*refused.*; is the server running"),
    ({"source": "{lost}", "events": "shop.events"}, r"data.source: .*translate host name.*; correct the host"),
    (
        {"source": "{url}", "events": "shop.events; DROP TABLE shop.events"},
        r"data.events: expected a table .* or a query",
    ),
    ({"source": "{url}", "events": ["shop.events", "shop.events"]}, r"events: shop.events is named twice"),
    (
        {"source": "{unset}", "events": "shop.events"},
        r"data.source: \$\{NO_SUCH\} is no environment variable; set NO_SUCH",
    ),
]


@pytest.mark.parametrize(("data", "message"), ERRORS)
def test_what_fails_is_one_sentence(
    server: PostgresServer, tmp_path: Path, data: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setattr(address, "_secrets", {})
    urls = {
        "url": server.url(),
        "guest": server.url("guest:guest"),
        "wrong": server.url("cascade:s3cret-but-wrong"),
        "nobody": server.url("cascade"),
        "away": "postgresql://cascade:s3cret@127.0.0.1:1/postgres",
        "lost": "postgresql://cascade:s3cret@no-such-host.invalid/postgres",
        "unset": server.url("cascade:${NO_SUCH}"),
    }
    said = failure(tmp_path / "run", **{**data, "source": data["source"].format(**urls)})
    assert re.search(message, said), said


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://cascade:s3cret@127.0.0.1:{silent.getsockname()[1]}/postgres?connect_timeout=2"
        assert re.search("timeout expired; is the server running, and can", failure(tmp_path, source=url, events="e"))


def test_the_command_says_one_sentence_without_the_secret(server: PostgresServer, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\nevents = "shop.events"\ntimestamp = "at"\n'
        f'source = "postgresql://cascade:s3cret-but-wrong@127.0.0.1:{server.port}/postgres"\n'
    )
    found = CliRunner().invoke(app, ["prepare", "--config", str(config), "--out", str(tmp_path / "run")])
    assert found.exit_code == 1
    assert "password authentication failed" in found.output
    assert "s3cret" not in found.output


def test_a_lost_connection_leaves_nothing_and_the_same_command_goes_on(server: PostgresServer, tmp_path: Path) -> None:
    before = prepare(tmp_path, source=server.url(), events="shop.events")
    known = content(before)
    slow = "SELECT e.* FROM shop.events e, generate_series(1, 1000000) i WHERE pg_sleep(0.001)::text = ''"
    killer = threading.Thread(target=lambda: (eventually(lambda: is_asleep(server)), server.kill()))
    killer.start()
    with pytest.raises(DataError, match=r"events: SELECT e\.\* .*run the same command again") as caught:
        prepare(tmp_path, source=server.url(), events=slow)
    killer.join()
    assert "s3cret" not in str(caught.value)
    assert content(tmp_path) == known
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".lock")] == ["data"]
    server.start()
    prepare(tmp_path, source=server.url(), events="SELECT e.* FROM shop.events e")
    assert content(tmp_path) == known
