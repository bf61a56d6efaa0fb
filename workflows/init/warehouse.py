"""Tables of a warehouse: a sample of each to look at, and what the config names of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workflows.core import console
from workflows.core.errors import CascadeError, DataError
from workflows.init.opening import Opened
from workflows.init.profile import NUM_LOOKED, Table
from workflows.init.split import MIN_USERS
from workflows.init.stored import Stored
from workflows.tables.paths import path_sql
from workflows.tables.warehouse.address import Address, address_of, without_secrets
from workflows.tables.warehouse.columns import renamed
from workflows.tables.warehouse.connection import Connection, told
from workflows.tables.warehouse.drivers import DRIVERS
from workflows.tables.warehouse.snapshot import settle_rows, write_rows
from workflows.tables.warehouse.spec import QUERY, from_clause, named

if TYPE_CHECKING:
    import duckdb

__all__ = ["Warehouse", "opened_warehouse", "shown_url", "table_specs"]


def table_specs(given: Sequence[str]) -> list[str]:
    """Tables and queries: names may stand behind one another with commas, a query stands alone."""
    parts = [[one] if QUERY.match(one) else one.split(",") for one in given]
    return list(dict.fromkeys(one.strip() for some in parts for one in some if one.strip()))


def shown_url(url: str) -> str:
    """The URL of a warehouse without secrets; any other text as it is.

    Raises:
        ConfigError: it cannot be read.
    """
    with _of_the_url():
        return without_secrets(url)


@contextmanager
def opened_warehouse(url: str, scratch: Path) -> Iterator[Warehouse]:
    """Connect.

    Args:
        url: as data.source takes it.
        scratch: a folder for the samples.

    Raises:
        CascadeError: the URL cannot be read, the driver is not installed, or the server refuses; in one sentence.
    """
    with _of_the_url():
        address = address_of(without_secrets(url))
        driver = DRIVERS[address.scheme]
        with told("data.source", address, driver.remedy):
            connection = driver.connect(address, os.environ)
        try:
            yield Warehouse(address, connection, scratch)
        finally:
            with suppress(Exception):  # of a connection that was lost
                connection.close()


@contextmanager
def _of_the_url() -> Iterator[None]:
    """Say "the URL" for the key of a config that is still to be written."""
    try:
        yield
    except CascadeError as error:
        words = re.sub(r"^data\.source: ", "", str(error)).replace("data.source", "the URL")
        raise type(error)(words.replace("data.--tables", "--tables")) from None


class Warehouse:
    """An open connection, and the samples that were read by it."""

    def __init__(self, address: Address, connection: Connection, scratch: Path) -> None:
        self.url = address.shown
        self._address, self._connection, self._scratch = address, connection, scratch

    def open_tables(self, con: duckdb.DuckDBPyConnection, specs: Sequence[str]) -> list[Opened]:
        """Read a sample of each table: all of its rows where they are no more than half a million.

        Raises:
            DataError: a table is not there, may not be read, or has no rows.
        """
        return [self._open(con, spec) for spec in specs]

    def with_histories(self, con: duckdb.DuckDBPyConnection, events: Table, user: str, time: str | None) -> Table:
        """The events with all rows of some users, which tell what a cut in time leaves; they need no other columns."""
        stored = events.opened.stored
        if events.is_whole or stored is None or time is None:
            return events
        share = max(NUM_LOOKED / stored.num_rows, MIN_USERS / events.columns[user].distinct)
        ids = stored.names[user]
        some = f"SELECT u FROM (SELECT DISTINCT {ids} AS u FROM {stored.source}) AS d WHERE {self._drawn(share)}"
        path = self._read(con, stored, stored.select([user, time], f"{ids} IN ({some})"), "histories")[0]
        return msgspec.structs.replace(events, sql=f"read_parquet({path_sql(str(path))})")

    def count(self, stored: Stored, asked: str, where: str = "") -> int:
        """A number that the database counts over all rows of a table."""
        with self._told(stored.spec):
            return self._number(f"SELECT {asked} AS n FROM {stored.source}" + (f" WHERE {where}" if where else ""))

    def quoted(self, name: str) -> str:
        """A name in the quotes of the warehouse."""
        return self._connection.quoted(name)

    def _open(self, con: duckdb.DuckDBPyConnection, spec: str) -> Opened:
        source, connection = from_clause("--tables", spec), self._connection
        with self._told(spec):
            columns = connection.columns(f"SELECT * FROM {source}")
            num_rows = self._number(f"SELECT count(*) AS n FROM {source}")
        names = renamed(named(spec), columns, [], [], only_needed=False, in_capitals=connection.in_capitals)
        if not num_rows:
            raise DataError(
                f"{named(spec)} is empty: it has columns ({', '.join(names.values())}) and no rows; give a table with "
                "rows"
            )
        stored = Stored(
            spec,
            source,
            num_rows,
            names={new: connection.quoted(name) for name, new in names.items()},
            reads={new: columns[name].sql for name, new in names.items()},
            quoted={new: connection.quoted(new) for new in names.values()},
            decimals=[new for name, new in names.items() if columns[name].is_decimal],
        )
        drawn = self._drawn(NUM_LOOKED / num_rows) if num_rows > NUM_LOOKED else ""
        path, count = self._read(con, stored, stored.select(list(names.values()), drawn), "sample")
        amount = f"{count:,} of {num_rows:,} rows" if drawn else f"{num_rows:,} rows"
        console.say(f"init: {named(spec)}: {amount} read from {self._address.shown}")
        files, sql = [str(path)], f"read_parquet({path_sql(str(path))})"
        return Opened(named(spec), files, sql, False, [], stored=stored)

    def _read(self, con: duckdb.DuckDBPyConnection, stored: Stored, select: str, what: str) -> tuple[Path, int]:
        raw = self._scratch / f"{what}_{len(list(self._scratch.glob('*.parquet')))}.raw"
        path = raw.with_suffix(".parquet")
        with self._told(stored.spec):
            count = write_rows(self._connection.read(select), raw)
        settle_rows(con, raw, path, stored.decimals, [])
        raw.unlink()
        return path, count

    def _drawn(self, share: float) -> str:
        return f"{self._connection.draw} < {share:.8f}"

    def _number(self, select: str) -> int:
        return int(next(value.as_py() for batch in self._connection.read(select).batches for value in batch.column(0)))

    def _told(self, spec: str) -> AbstractContextManager[None]:
        return told(named(spec), self._address, DRIVERS[self._address.scheme].remedy)
