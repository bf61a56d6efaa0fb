"""Read and check the raw tables into DuckDB: `raw_events`, `raw_items`, `raw_users`, each with its row number `__n`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workflows.core import console
from workflows.core.disk import is_disk_full
from workflows.core.errors import ConfigError, DataError
from workflows.tables.check import (
    IdType,
    Shape,
    check_columns,
    check_ids,
    check_labels,
    check_not_empty,
    check_not_padding,
    check_position,
    check_stock,
    check_unique,
    columns_of,
)
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.find import check_no_file_twice, find
from workflows.tables.id_types import settle_ids
from workflows.tables.labels import Condition, check_condition, label_conditions
from workflows.tables.source import Source, megabytes_of, quoted, scan, unreadable, with_text
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["Inputs", "Loaded", "find_inputs", "load"]


class Inputs(msgspec.Struct, frozen=True):
    """The files of every table; `events` has one entry, or one per split ("train", "valid", "test") for given files."""

    events: dict[str, Source]
    items: Source | None
    users: Source | None


class Loaded(msgspec.Struct, frozen=True):
    """What was found: id types, and the columns of the tables (empty for an absent one)."""

    user_type: IdType
    item_type: IdType
    events: Shape
    items: Shape
    users: Shape


def find_inputs(data: DataConfig, split: SplitConfig) -> Inputs:
    """List the files of the tables.

    Raises:
        ConfigError: no events are named.
        DataError: a path leads nowhere, or a file is in two splits.
    """
    if split.by == "files":
        given = {"train": split.train, "valid": split.valid, "test": split.test}
        events = {name: find(f"split.{name}", spec) for name, spec in given.items() if spec}
        if "train" not in events:
            raise ConfigError("split.by = 'files' needs split.train, got none; set split.train to a path")
        check_no_file_twice({f"split.{name}": source.files for name, source in events.items()})
    elif data.events:
        events = {"": find("events", data.events)}
    else:
        raise ConfigError(
            "data.events must name the events, got nothing; set data.events to a path or data.source = 'shop'"
        )
    return Inputs(
        events=events,
        items=find("items", data.items) if data.items else None,
        users=find("users", data.users) if data.users else None,
    )


def load(con: duckdb.DuckDBPyConnection, inputs: Inputs, data: DataConfig, split: SplitConfig) -> Loaded:
    """Read the tables and check them.

    Raises:
        DataError: one sentence with the column, the count and an example row.
    """
    events = _load_events(con, inputs, data, split)
    items = _load_entities(con, "items", inputs.items, data.item_id, "data.item_id")
    users = _load_entities(con, "users", inputs.users, data.user_id, "data.user_id")
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
    )
    check_ids(con, "events", "raw_events", data.user_id, loaded.user_type)
    _check_item_ids(con, "events", data, loaded.item_type)
    check_labels(con, "raw_events", events, list(data.labels))
    if data.position:
        check_position(con, "raw_events", events, data.position)
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


def _load_events(con: duckdb.DuckDBPyConnection, inputs: Inputs, data: DataConfig, split: SplitConfig) -> Shape:
    keys = {data.user_id: "data.user_id", data.item_id: "data.item_id"}
    conditions = label_conditions(data)
    keys |= {label: "data.labels" for label in data.labels if label not in conditions}
    keys |= dict.fromkeys(data.context, "data.context")
    keys |= {data.position: "data.position"} if data.position else {}
    keys |= {data.timestamp: "data.timestamp"} if data.timestamp else {}
    keys |= {split.column: "split.column"} if split.by == "column" else {}
    needed = [*keys.items(), *((c.column, f"data.labels.{name}") for name, c in conditions.items())]
    wanted = [*map(quoted, keys), *(f"{c.sql} AS {quoted(name)}" for name, c in conditions.items())]
    for index, (name, source) in enumerate(inputs.events.items()):
        sql = scan(con, source)
        table = f"split.{name}" if name else "events"
        shape = columns_of(con, sql)
        check_columns(table, shape, needed)
        for label, condition in conditions.items():
            check_condition(label, condition, shape)
        if _all_csv(inputs):
            sql = with_text(sql, source, [data.user_id, data.item_id])
            shape |= dict.fromkeys((data.user_id, data.item_id), "VARCHAR")
        given = f"'{name}'" if name else "NULL"
        offset = num_rows(con, "raw_events") if index else 0
        _same_shape(con, table, index, shape, keys)
        into = "INSERT INTO raw_events BY NAME" if index else "CREATE TABLE raw_events AS"
        number = f"row_number() OVER () - 1 + {offset} AS __n"
        _run(con, source, f"{into} SELECT {number}, {', '.join(wanted)}, {given}::VARCHAR AS __given FROM {sql}")
    check_not_empty(con, "events", "raw_events", next(iter(inputs.events.values())))
    _drop_unlabelled(con, conditions)
    known = keys.keys() | conditions.keys()
    return {column: kind for column, kind in columns_of(con, "raw_events").items() if column in known}


def _drop_unlabelled(con: duckdb.DuckDBPyConnection, conditions: dict[str, Condition]) -> None:
    """Leave out, aloud, the events on which a condition says nothing: those with a null in its column."""
    for label, condition in conditions.items():
        before = num_rows(con, "raw_events")
        con.execute(f"DELETE FROM raw_events WHERE {quoted(label)} IS NULL")
        if dropped := before - num_rows(con, "raw_events"):
            console.say(f"data: dropped {dropped:,} events without '{condition.column}', so without '{label}'")
        if dropped == before:
            raise DataError(
                f"events: column '{condition.column}' (data.labels.{label}) must hold a value somewhere, got nulls in "
                f"all {before:,} rows; correct data.labels"
            )


def _same_shape(con: duckdb.DuckDBPyConnection, table: str, index: int, shape: Shape, keys: dict[str, str]) -> None:
    if not index:
        return
    first = columns_of(con, "raw_events")
    for column in keys:
        if shape[column] != first[column]:
            raise DataError(
                f"{table}: column '{column}' must have the type of split.train, {first[column].lower()}, got "
                f"{shape[column].lower()}; write the files with one schema"
            )


def _load_entities(con: duckdb.DuckDBPyConnection, table: str, source: Source | None, column: str, key: str) -> Shape:
    if source is None:
        return {}
    sql = scan(con, source)
    shape = columns_of(con, sql)
    check_columns(table, shape, [(column, key)])
    sql = with_text(sql, source, [column])
    _run(con, source, f"CREATE TABLE raw_{table} AS SELECT row_number() OVER () - 1 AS __n, * FROM {sql}")
    check_not_empty(con, table, f"raw_{table}", source)
    return shape


def _all_csv(inputs: Inputs) -> bool:
    """Whether the events' ids are read as text; beside Parquet, DuckDB's guess has to fit the type there."""
    return all(source.format == "CSV" for source in inputs.events.values())


def _run(con: duckdb.DuckDBPyConnection, source: Source, sql: str) -> None:
    import duckdb

    try:
        with watched(con, f"reading {source.table}", megabytes_of(source), "MB"):
            con.execute(sql)
    except (duckdb.Error, OSError) as error:
        if is_disk_full(error):
            raise
        raise unreadable(con, source, error) from None
