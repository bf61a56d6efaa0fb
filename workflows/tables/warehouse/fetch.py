"""The tables of a warehouse as Parquet files of this run, for as long as they are read."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ConfigError, DataError
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_types import Use
from workflows.tables.database import database
from workflows.tables.load import Inputs
from workflows.tables.raw_events import needed_columns
from workflows.tables.source import Source
from workflows.tables.warehouse.address import Address, address_of
from workflows.tables.warehouse.columns import renamed
from workflows.tables.warehouse.connection import Connection, told
from workflows.tables.warehouse.drivers import DRIVERS
from workflows.tables.warehouse.snapshot import contents_of, settle_rows, write_rows
from workflows.tables.warehouse.spec import from_clause, named, specs_of

__all__ = ["Fetched", "fetched"]


class Fetched(msgspec.Struct, frozen=True):
    """Files with the rows of all tables, and what identifies their contents."""

    inputs: Inputs
    contents: dict[str, Any]


class Wanted(msgspec.Struct, frozen=True):
    """One table of the config.

    Attributes:
        table: "events", "items", "users", "split.train", ...
        specs: tables and queries of the warehouse.
        needed: (column, config key that names it) that must be there.
        known: further names of columns in the config.
        order: columns that lead the order of rows.
    """

    table: str
    specs: list[str]
    needed: list[tuple[str, str]]
    known: list[str]
    order: list[str]

    @property
    def is_events(self) -> bool:
        """Of events only those columns are read that the config names."""
        return self.table not in ("items", "users")


@contextmanager
def fetched(
    folder: Path, data: DataConfig, split: SplitConfig, uses: Mapping[str, Mapping[str, Use]]
) -> Iterator[Fetched]:
    """Read every table into a folder of its own, which is gone after the body.

    Args:
        folder: where the files go; emptied first of what a killed process left.
        data: the tables and what their columns mean.
        split: names the tables of given splits.
        uses: which columns are features.

    Raises:
        ConfigError: a table is not named as one, or a ${NAME} is not set.
        DataError: the warehouse refuses, or the connection is lost, said in one sentence without secrets.
        SetupError: its driver is not installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    wanted = _wanted(data, split, uses)
    for one in wanted:
        for spec in one.specs:
            from_clause(one.table, spec)
    address = address_of(data.source)
    try:
        with writing("data", folder.parent):
            folder.mkdir(parents=True)
            found = _fetch(folder, address, wanted)
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wanted(data: DataConfig, split: SplitConfig, uses: Mapping[str, Mapping[str, Use]]) -> list[Wanted]:
    needed = needed_columns(data, split)
    given = {"events": data.events}
    if split.by == "files":
        given = {f"split.{name}": getattr(split, name) for name in ("train", "valid", "test")}
    order = [name for name in (data.timestamp, data.user_id, data.item_id) if name]
    found = [Wanted(table, specs_of(table, spec), needed, [], order) for table, spec in given.items() if spec]
    if not found:
        raise ConfigError("data.events must name the events, got nothing; set it to a table (schema.table) or a query")
    for table, spec, column in (("items", data.items, data.item_id), ("users", data.users, data.user_id)):
        if spec:
            known = [*uses.get(table, {}), *([data.stock] if table == "items" and data.stock else [])]
            found.append(Wanted(table, specs_of(table, spec), [(column, f"data.{table[:-1]}_id")], known, [column]))
    return found


def _fetch(folder: Path, address: Address, wanted: Sequence[Wanted]) -> Fetched:
    sources: dict[str, Source] = {}
    contents: dict[str, Any] = {}
    with _connected(address) as connection, database(folder) as con:
        for one in wanted:
            paths = [folder / f"{one.table}_{place}.parquet" for place in range(len(one.specs))]
            for path, spec in zip(paths, one.specs, strict=True):
                raw = path.with_suffix(".raw")
                decimals = _read(connection, address, one, spec, raw)
                settle_rows(con, raw, path, decimals, one.order)
                raw.unlink()
                contents[path.stem] = contents_of(con, path)
            sources[one.table] = Source(one.table, [str(path) for path in paths], "Parquet")
    items, users = sources.pop("items", None), sources.pop("users", None)
    events = {"" if table == "events" else table.removeprefix("split."): found for table, found in sources.items()}
    return Fetched(Inputs(events=events, items=items, users=users), contents)


def _read(connection: Connection, address: Address, wanted: Wanted, spec: str, path: Path) -> list[str]:
    """Write the rows as they come; the columns that are decimal numbers in text."""
    source = from_clause(wanted.table, spec)
    started_at = time.perf_counter()
    with told(f"{wanted.table}: {named(spec)}", address, DRIVERS[address.scheme].remedy):
        columns = connection.columns(f"SELECT * FROM {source}")
        names = renamed(
            wanted.table,
            columns,
            wanted.needed,
            wanted.known,
            only_needed=wanted.is_events,
            in_capitals=connection.in_capitals,
        )
        asked = ", ".join(f"{columns[name].sql} AS {connection.quoted(new)}" for name, new in names.items())
        count = write_rows(connection.read(f"SELECT {asked} FROM {source}"), path)
    if not count:
        raise DataError(f"{wanted.table}: expected at least one row, got none in {named(spec)} of {address.shown}")
    seconds = console.duration(time.perf_counter() - started_at)
    console.say(f"data: {wanted.table}: {count:,} rows of {named(spec)} read from {address.shown} in {seconds}")
    return [new for name, new in names.items() if columns[name].is_decimal]


@contextmanager
def _connected(address: Address) -> Iterator[Connection]:
    driver = DRIVERS[address.scheme]
    with told("data.source", address, driver.remedy):
        connection = driver.connect(address, os.environ)
    try:
        yield connection
    finally:
        with suppress(Exception):  # of a connection that was lost
            connection.close()
