"""Tables of a real Postgres become a config that `cascade prepare` takes unchanged; one sentence for what fails."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ensemble.config_file import load_config
from scripts.cli import app
from tests.workflows.warehouse.servers import PASSWORD, PostgresServer
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run
from workflows.init import warehouse
from workflows.tables.stage import prepare_data
from workflows.tables.warehouse import address

pytestmark = pytest.mark.service("postgres")

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.visits AS SELECT 1 + i % 97 AS user_id, 'P' || i * 7 % 60 AS item_id,
  timestamptz '2026-03-01' + i * interval '17 minutes' AS at, i % 3 = 0 AS clicked, i % 2 AS shelf
  FROM generate_series(0, 2999) i;
CREATE TABLE shop.items AS SELECT 'P' || i AS id, (ARRAY['tea', 'lamp', 'toy'])[1 + i % 3] AS kind, i + 0.25 AS price
  FROM generate_series(0, 59) i;
CREATE TABLE shop.users AS SELECT i AS user_id, (ARRAY['home', 'sport'])[1 + i % 2] AS interest
  FROM generate_series(1, 97) i;
CREATE TABLE shop.gaps AS SELECT CASE WHEN i % 9 > 0 THEN user_id END AS user_id, item_id, at, clicked
  FROM (SELECT *, row_number() OVER () AS i FROM shop.visits) v;
CREATE TABLE shop.items_twice AS SELECT * FROM shop.items UNION ALL SELECT * FROM shop.items;
CREATE TABLE shop.untimed AS SELECT user_id, item_id FROM shop.visits;
CREATE TABLE shop.empty (user_id bigint, item_id text, at timestamptz)"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    from adbc_driver_postgresql import dbapi

    server = PostgresServer()
    try:
        with dbapi.connect(server.url()) as connection, connection.cursor() as cursor:
            for statement in SCHEMA.split(";\n"):
                cursor.execute(statement)
            connection.commit()
        yield server
    finally:
        server.close()


def typed(folder: Path, *arguments: str, status: int = 0) -> str:
    """What a command said; nothing of it holds a secret."""
    found = CliRunner().invoke(app, ["init", *arguments, "--out", str(folder / "shop.toml")])
    assert found.exit_code == status, found.output
    written = (folder / "shop.toml").read_text() if not status else ""
    assert not status or not list(folder.iterdir())
    for secret in ("s3cret", PASSWORD):
        assert secret not in found.output + written
    return found.output


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The rows of data/ that the written config gives, which takes the password from the environment."""
    monkeypatch.setattr(address, "_secrets", {})  # as in another process
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    config = load_config(folder / "shop.toml")
    prepare_data(Run(folder / "run"), config.data, config.split, config.shop, 0, features=config.features)
    return dict(read_manifest(folder / "run" / "data").info["rows"])


def test_a_config_that_is_prepared_unchanged(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = typed(tmp_path, server.url(), "--tables", "shop.visits,shop.items", "--tables", "shop.users")
    assert f"init: shop.visits: 3,000 rows read from postgresql://cascade@127.0.0.1:{server.port}/postgres\n" in said
    assert "the secrets of the URL are not in" in said
    data = load_config(tmp_path / "shop.toml").data
    assert (data.source, data.events) == (server.url("cascade"), "shop.visits")
    assert data.items == 'SELECT "id" AS "item_id", "kind", "price" FROM shop.items'
    assert (data.users, data.timestamp, data.labels) == ("shop.users", "at", ["clicked"])
    text = (tmp_path / "shop.toml").read_text()
    assert "# A query, since its ids are called 'id', and 'item_id' in the events." in text
    assert "the ids; 100.0% of the events' are here" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.toml"]
    assert sum(prepared(tmp_path, monkeypatch).values()) == 3000


def test_a_variable_stays_in_the_config(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    url = server.url("cascade:${SHOP_PASSWORD}")
    assert "secrets" not in typed(tmp_path, url, "--tables", "SELECT user_id, item_id, at FROM shop.visits")
    data = load_config(tmp_path / "shop.toml").data
    assert (data.source, data.events) == (url, "SELECT user_id, item_id, at FROM shop.visits")


def test_rows_without_a_user_are_left_out_by_a_query(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(tmp_path, server.url(), "--tables", "shop.gaps")
    assert "# A query, since 333 of its rows have no 'user_id'." in (tmp_path / "shop.toml").read_text()
    assert sum(prepared(tmp_path, monkeypatch).values()) == 2667


def test_of_a_large_table_a_sample_is_enough(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "NUM_LOOKED", 50)
    said = typed(tmp_path, server.url(), "--tables", "shop.visits,shop.items,shop.users")
    looked = re.search(r"shop.visits: (\d+) of 3,000 rows read", said)
    assert looked and 10 <= int(looked[1]) <= 130
    config = load_config(tmp_path / "shop.toml")
    assert (config.data.users, config.split.by, config.split.test_fraction) == ("shop.users", "time", 0.1)
    assert config.data.unknown_items == "drop"
    assert f"3,000 rows ({looked[1]} of them looked at)" in (tmp_path / "shop.toml").read_text()
    assert sum(prepared(tmp_path, monkeypatch).values()) == 3000


REFUSED = [
    (("{url}",), r": expected --tables with the tables to look at"),
    (("{url}", "events.csv", "--tables", "shop.visits"), r": expected files or the URL of one database, got more"),
    (("events.csv", "--tables", "shop.visits"), r"--tables shop.visits: expected the URL of a database"),
    (("{url}", "--tables", "shop.visit"), r'shop.visit: .*"shop.visit" does not exist; correct the name'),
    (("{url}", "--tables", "shop.empty"), r"shop.empty is empty: it has columns \(user_id, item_id, at\) and no rows"),
    (("{url}", "--tables", "a; DROP TABLE b"), r"--tables: expected a table .* or a query"),
    (("{url}", "--tables", "shop.untimed"), r"shop.untimed: no column says when an event was, and rows of a database"),
    (
        ("{url}", "--tables", "shop.visits,shop.items_twice"),
        r"shop.items_twice has several rows of one 'id'; name a qu",
    ),
    (
        ("{url}", "--tables", "shop.visits,shop.gaps"),
        r"one would be made that the database does not have \(it is put t",
    ),
    (("{url}", "--tables", "shop.users"), r"expected a column with the item of each event, got none: shop.users has"),
    (("{url}x", "--tables", "shop.visits"), r'error: postgresql:.* database "postgresx" does not exist; correct the U'),
    (("postgresql://u:s3cret/p@h/d", "--tables", "e"), r"error: the URL of the warehouse cannot be read; expected sch"),
    (("postgresql://u:s3cret@127.0.0.1:1/d", "--tables", "e"), r"refused.*; is the server running"),
    (("mysql://u:s3cret@h/d", "--tables", "e"), r"--tables e: expected the URL of a database"),
    (("mysql://u:s3cret@h/d",), r"mysql://\*\*\*: init looks at files of this machine and at databases behind"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_fails_is_one_sentence(
    server: PostgresServer, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    said = typed(tmp_path, *(one.format(url=server.url()) for one in arguments), status=1)
    error = said[said.index("error: ") :]
    assert error.count("\n") == 1
    assert re.search(message, error, re.IGNORECASE), said


def test_without_the_driver_the_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    said = typed(tmp_path, "postgresql://u:s3cret@127.0.0.1:1/d", "--tables", "e", status=1)
    assert "postgres" in said and "install" in said
