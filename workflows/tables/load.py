"""Read and check the raw tables into DuckDB: `raw_events`, `raw_items`, `raw_users`, each with its row number `__n`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from workflows.core.errors import ConfigError
from workflows.tables.check import (
    IdType,
    Shape,
    check_columns,
    check_ids,
    check_labels,
    check_not_empty,
    check_not_padding,
    check_position,
    check_propensity,
    check_stock,
    check_unique,
    columns_of,
)
from workflows.tables.codes import check_codes, check_digits
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_table import id_use, run, settle_table
from workflows.tables.csv_types import Use
from workflows.tables.event_log import LogSource, find_log
from workflows.tables.find import check_no_file_twice, find
from workflows.tables.id_types import settle_ids
from workflows.tables.kinds import Kinds, find_kinds
from workflows.tables.places import note_files
from workflows.tables.raw_events import read_events
from workflows.tables.source import Source, open_source, quoted
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["Inputs", "Loaded", "find_inputs", "has_csv", "load"]


class Inputs(msgspec.Struct, frozen=True):
    """The files of every table; `events` has one entry, or one per split ("train", "valid", "test") for given files.

    Where the events are a log, they are no files yet: `events` is empty until they have been written as a table.
    """

    events: dict[str, Source]
    items: Source | None
    users: Source | None
    log: LogSource | None = None


class Loaded(msgspec.Struct, frozen=True):
    """What was found: id types, columns of the tables (empty for an absent one), and what a label's column has."""

    user_type: IdType
    item_type: IdType
    events: Shape
    items: Shape
    users: Shape
    kinds: Kinds = Kinds()


def find_inputs(data: DataConfig, split: SplitConfig) -> Inputs:
    """List the files of the tables.

    Raises:
        ConfigError: no events are named.
        DataError: a path leads nowhere, or a file is in two splits.
    """
    log = None
    if split.by == "files":
        given = {"train": split.train, "valid": split.valid, "test": split.test}
        events = {name: find(f"split.{name}", spec) for name, spec in given.items() if spec}
        if "train" not in events:
            raise ConfigError("split.by = 'files' needs split.train, got none; set split.train to a path")
        check_no_file_twice({f"split.{name}": source.files for name, source in events.items()})
    elif data.events:
        log = find_log(data.events)
        events = {} if log else {"": find("events", data.events)}
    else:
        raise ConfigError(
            "data.events must name the events, got nothing; set data.events to a path or data.source = 'shop'"
        )
    return Inputs(
        events=events,
        items=find("items", data.items) if data.items else None,
        users=find("users", data.users) if data.users else None,
        log=log,
    )


def has_csv(inputs: Inputs) -> bool:
    """Whether any table is CSV, whose types have to be found."""
    sources = [*inputs.events.values(), inputs.items, inputs.users]
    return any(source.format == "CSV" for source in sources if source)


def load(
    con: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    data: DataConfig,
    split: SplitConfig,
    uses: Mapping[str, Mapping[str, Use]] = {},
) -> Loaded:
    """Read the tables and check them.

    Args:
        con: where the tables go.
        inputs: the files.
        data: what the columns mean.
        split: how events become train, valid and test.
        uses: what the columns of CSV files are read for besides: table ("users", "items", "context") -> column -> use.

    Raises:
        DataError: one sentence with the column, the count and an example row.
    """
    con.execute("SET TimeZone = 'UTC'")  # of timestamps in CSV files that name no zone
    items = _read_entities(con, "items", inputs.items, data, uses.get("items", {}))
    users = _read_entities(con, "users", inputs.users, data, uses.get("users", {}))
    events = read_events(con, inputs.events, data, split, uses.get("context", {}))
    with watched(con, "checking the tables", num_rows(con, "raw_events"), one=False):
        return _check(con, inputs, data, events, items, users)


def _check(
    con: duckdb.DuckDBPyConnection, inputs: Inputs, data: DataConfig, events: Shape, items: Shape, users: Shape
) -> Loaded:
    users_of, items_of = {"events": _all_csv(inputs)}, {"events": _all_csv(inputs)}
    users_of |= {"users": inputs.users.format == "CSV"} if inputs.users else {}
    items_of |= {"items": inputs.items.format == "CSV"} if inputs.items else {}
    loaded = Loaded(
        user_type=settle_ids(con, "user", data.user_id, users_of, data.user_id_type),
        item_type=settle_ids(con, "item", data.item_id, items_of, data.item_id_type),
        events=events,
        items=items,
        users=users,
        kinds=find_kinds(con),
    )
    check_ids(con, "events", "raw_events", data.user_id, loaded.user_type)
    _check_item_ids(con, "events", data, loaded.item_type)
    check_labels(con, "raw_events", events, list(data.labels))
    if data.position:
        check_position(con, "raw_events", events, data.position)
    if data.propensity:
        check_propensity(con, "raw_events", events, data.propensity)
    if items:
        _check_item_ids(con, "items", data, loaded.item_type)
        check_unique(con, "items", "raw_items", data.item_id)
    if users:
        check_ids(con, "users", "raw_users", data.user_id, loaded.user_type)
        check_unique(con, "users", "raw_users", data.user_id)
    if data.stock:
        check_stock(items, data.stock)
    return loaded


def _check_item_ids(con: duckdb.DuckDBPyConnection, table: str, data: DataConfig, kind: IdType) -> None:
    check_ids(con, table, f"raw_{table}", data.item_id, kind)
    if kind == "int64":
        check_not_padding(con, table, f"raw_{table}", data.item_id)


def _read_entities(
    con: duckdb.DuckDBPyConnection, table: str, source: Source | None, data: DataConfig, uses: Mapping[str, Use]
) -> Shape:
    if source is None:
        return {}
    column = data.item_id if table == "items" else data.user_id
    relation = open_source(con, source, [column])
    shape = columns_of(con, relation.sql)
    check_columns(table, shape, [(column, f"data.{table[:-1]}_id")], source)
    check_digits(con, relation, [name for name, use in uses.items() if use.role == "code"])
    wanted = ["*"]
    if relation.dialects:
        known = {column: id_use(data, column)} | (_stock(data) if table == "items" else {})
        uses_of_columns = [known.get(name) or uses.get(name) or Use(name, "any", table) for name in shape]
        settled = settle_table(con, table, [relation], uses_of_columns, [column])
        wanted = [f"{kind.sql} AS {quoted(name)}" for name, kind in zip(shape, settled, strict=True)]
    run(
        con,
        relation,
        f"CREATE TABLE raw_{table} AS SELECT row_number() OVER () - 1 AS __n, {', '.join(wanted)} FROM {relation.sql}",
    )
    note_files(con, f"raw_{table}", relation)
    check_not_empty(con, table, f"raw_{table}", source)
    found = {name: kind for name, kind in columns_of(con, f"raw_{table}").items() if name in shape}
    check_codes(con, table, found, uses)
    return found


def _stock(data: DataConfig) -> dict[str, Use]:
    return {data.stock: Use(data.stock, "flag", "data.stock")} if data.stock else {}


def _all_csv(inputs: Inputs) -> bool:
    """Whether the events' ids are read as text; beside Parquet, DuckDB's guess has to fit the type there."""
    return all(source.format == "CSV" for source in inputs.events.values())
