"""A Postgres, a Snowflake and a BigQuery that answer to the same few calls, with the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.ports import free_port
from tests.workflows.warehouse.emulators import start_bigquery, start_snowflake
from tests.workflows.warehouse.servers import PostgresServer

__all__ = ["SERVERS", "Served"]


class Served(NamedTuple):
    """One of them.

    Attributes:
        port: of it.
        types: for user_id, item_id, at, click, device, shelf and price.
        execute: runs a statement.
        url: data.source, by way of a port.
        close: ends it.
    """

    port: int
    types: tuple[str, ...]
    execute: Callable[[str], Any]
    url: Callable[[int], str]
    close: Callable[[], Any]


def _postgres() -> Served:
    from adbc_driver_postgresql import dbapi

    server = PostgresServer()

    def execute(statement: str) -> None:
        with dbapi.connect(server.url()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()

    execute("CREATE SCHEMA sales")
    types = ("bigint", "text", "timestamptz", "boolean", "text", "numeric", "numeric(10, 2)")
    return Served(
        server.port, types, execute, lambda port: server.url().replace(f":{server.port}/", f":{port}/"), server.close
    )


def _snowflake() -> Served:
    from adbc_driver_snowflake import dbapi

    port = free_port()
    emulator = start_snowflake(port)
    sql = "adbc.snowflake.sql"
    place = {f"{sql}.uri.host": "127.0.0.1", f"{sql}.uri.port": str(port), f"{sql}.uri.protocol": "http"}
    login = {"username": "fake", "password": "s3cret", f"{sql}.account": "fakesnow"}

    def execute(statement: str) -> None:
        with dbapi.connect(db_kwargs=place | login) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS shop")
            cursor.execute("USE DATABASE shop")
            cursor.execute("CREATE SCHEMA IF NOT EXISTS sales")
            cursor.execute(statement)
            connection.commit()

    types = ("NUMBER(38, 0)", "VARCHAR", "TIMESTAMP_TZ", "BOOLEAN", "VARCHAR", "NUMBER", "NUMBER(10, 2)")
    url = "snowflake://fake:s3cret%2Fpw@fakesnow/SHOP/SALES?host=127.0.0.1&port={}&protocol=http"
    return Served(port, types, execute, url.format, emulator.close)


def _bigquery() -> Served:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

    port = free_port()
    emulator = start_bigquery(port)
    place = ClientOptions(api_endpoint=f"http://127.0.0.1:{port}")
    client = bigquery.Client("shop-1", AnonymousCredentials(), client_options=place)
    client.create_dataset("sales")

    def close() -> None:
        client.close()
        emulator.close()

    types = ("INT64", "STRING", "TIMESTAMP", "BOOL", "STRING", "NUMERIC", "NUMERIC")
    url = "bigquery://shop-1/sales?endpoint=http://127.0.0.1:{}"
    return Served(port, types, lambda statement: client.query(statement).result(), url.format, close)


SERVERS: dict[str, Callable[[], Served]] = {"postgres": _postgres, "snowflake": _snowflake, "bigquery": _bigquery}
