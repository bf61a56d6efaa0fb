"""Postgres, and what speaks its protocol, by ADBC: rows come as Arrow from a binary COPY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.tables.warehouse.address import Address
from workflows.tables.warehouse.connection import Column, Rows, check_driver

__all__ = ["Postgres", "connect", "remedy"]

# Where the driver says a type: every one, or in releases before 1.13 those alone that Arrow has no name for.
TYPES = (b"POSTGRESQL:type", b"ADBC:postgresql:typname")
# Types that tables know; every other one is read as Postgres prints it.
SCALARS = {"int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "name"}
KNOWN = SCALARS | {"date", "timestamp", "timestamptz"} | {f"_{name}" for name in SCALARS}
# A server that is gone is noticed, also in the middle of a query: without these only after hours.
PATIENCE = {"connect_timeout": "10", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
ENVIRONMENT = {"connect_timeout": "PGCONNECT_TIMEOUT"}
REMEDIES = {
    "28": "correct the user and the password in data.source, or in PGUSER and PGPASSWORD",
    "3D": "correct the database in data.source",
    "42P01": "correct the name, with its schema",
    "3F": "correct the schema",
    "42703": "correct the column in the query",
    "42501": "give this user the right to read it",
    "42": "correct the query",
    "57": "the server ended the connection; run the same command again",
    "08": "the connection was lost; run the same command again",
}
WORDS = {
    "password": "correct the user and the password in data.source, or in PGUSER and PGPASSWORD",
    "does not exist": "correct data.source",
    "translate host name": "correct the host in data.source",
    "refused": "is the server running, and are host and port of data.source right?",
    "timeout": "is the server running, and can it be reached from here?",
    "server closed": "the connection was lost; run the same command again",
    "no connection to the server": "the connection was lost; run the same command again",
    "COPY": "the connection was lost; run the same command again",
}


def connect(address: Address, environment: Mapping[str, str]) -> Postgres:
    """Connect; what the URL leaves out comes from libpq's environment variables and files.

    Raises:
        SetupError: the driver is not installed.
    """
    check_driver("adbc_driver_postgresql", "adbc-driver-postgresql", "postgres")
    address.hide(environment.get("PGPASSWORD"))
    from adbc_driver_postgresql import dbapi

    named = {"host": address.host, "port": address.port, "user": address.user, "password": address.password}
    named["dbname"] = "/".join(address.path)
    patience = {name: value for name, value in PATIENCE.items() if ENVIRONMENT.get(name, "") not in environment}
    settings = patience | {name: value for name, value in named.items() if value} | address.parameters
    return Postgres(dbapi.connect(" ".join(f"{name}={_value(text)}" for name, text in settings.items())))


class Postgres:
    """One read-only transaction, so that all tables are of one instant."""

    in_capitals = False
    draw = "random()"

    def __init__(self, connection: Any) -> None:
        self._connection, self._cursor = connection, connection.cursor()
        self._cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def columns(self, select: str) -> dict[str, Column]:
        """As in `Connection`."""
        import pyarrow as pa

        found = {}
        for field in self._cursor.adbc_execute_schema(select):
            said, name = field.metadata or {}, self.quoted(field.name)
            kind = next((said[key].decode() for key in TYPES if key in said), "")
            # Text of a type that is not said may be a padded char(n), which the cast takes for what it says.
            is_plain = not (isinstance(field.type, pa.BaseExtensionType) or pa.types.is_string(field.type))
            is_known = kind in KNOWN or (not kind and is_plain)
            found[field.name] = Column(name if is_known else f"{name}::text", is_decimal=kind == "numeric")
        return found

    def read(self, select: str) -> Rows:
        """As in `Connection`."""
        self._cursor.execute(select)
        reader = self._cursor.fetch_record_batch()
        return Rows(reader.schema, reader)

    def quoted(self, name: str) -> str:
        """As in `Connection`."""
        return '"' + name.replace('"', '""') + '"'

    def close(self) -> None:
        """As in `Connection`."""
        self._cursor.close()
        self._connection.close()


def remedy(error: Exception) -> str:
    """What a person can do, by the SQLSTATE or, where libpq has none, by the words of the error."""
    state = getattr(error, "sqlstate", None) or ""
    for prefix, way_out in REMEDIES.items():
        if state.startswith(prefix):
            return way_out
    return next((way_out for words, way_out in WORDS.items() if words in str(error)), "")


def _value(text: str) -> str:
    """A value of a libpq connection string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
