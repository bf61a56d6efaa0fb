"""Tables of items that are made of others: of the events' columns, of one property a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from workflows.init.entities import Entity
from workflows.init.opening import Opened
from workflows.init.profile import Column, Table, look
from workflows.init.words import PRICE, plain_name
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["items_of_events", "with_properties"]

ALIKE = 1.1  # values that an item has on average, up to which a column says something of the item
OFTEN = 1.5  # events that an item has on average, from which that can be seen
NUM_PROPERTIES = 12


def items_of_events(
    con: duckdb.DuckDBPyConnection, events: Table, item: str, time: str | None, but: Iterable[str]
) -> Entity | None:
    """What the events say of each item, its latest value, where they say anything.

    Args:
        con: the connection.
        events: the events.
        item: column of their items.
        time: column of their instants.
        but: columns that mean something else.
    """
    left = {item, time, *but}
    names = [
        name for name, column in events.columns.items() if name not in left and _is_of_item(con, events, item, column)
    ]
    if not names:
        return None
    found = events.columns[time].time if time else None
    time_sql = found.sql if found else ""
    values = ", ".join(f"{_latest(quoted(name), time_sql)} AS {quoted(name)}" for name in names)
    sql = "items_of_events"
    rows = f"SELECT {quoted(item)}, {values} FROM {events.sql} WHERE {quoted(item)} IS NOT NULL GROUP BY 1"
    con.execute(f"CREATE TABLE {sql} AS {rows}")
    reasons = [f"it is made of {events.name}: the latest of what its rows say of each item"]
    made = Opened(f"the items of {events.name}", events.opened.files, sql, False, reasons, is_made=True)
    return Entity(look(con, made, _number(con)), item, 1.0)


def with_properties(con: duckdb.DuckDBPyConnection, items: Entity) -> Entity:
    """A table of one property a row as one of an item a row: the latest values of the most frequent properties."""
    if items.property is None:
        return items
    (name, value), table, key = items.property, items.table, items.key
    property_name, property_value = quoted(name), quoted(value)
    most = con.execute(
        f"SELECT {property_name}::VARCHAR FROM {table.looked} WHERE {property_name} IS NOT NULL GROUP BY 1 "
        f"ORDER BY count(DISTINCT {quoted(key)}) DESC, 1 LIMIT {NUM_PROPERTIES}"
    ).fetchall()
    time = next((one.time.sql for one in table.columns.values() if one.time and one.time.sql), "")
    latest = _latest(property_value, time)
    texts = [str(row[0]).replace("'", "''") for row in most]
    values = ", ".join(
        f"{latest} FILTER ({property_name}::VARCHAR = '{text}')::VARCHAR AS {quoted(_named(str(row[0])))}"
        for text, row in zip(texts, most, strict=True)
    )
    sql = f"(SELECT {quoted(key)}, {values} FROM {table.sql} GROUP BY 1)"
    reason = (
        f"each of its rows holds one '{name}' of an item: the latest of the {len(most)} most frequent ones are columns"
    )
    opened = table.opened
    made = Opened(opened.name, opened.files, sql, True, [*opened.reasons, reason], is_made=True)
    return Entity(look(con, made, _number(con)), key, items.share)


def _latest(value: str, time: str) -> str:
    """The latest value, the greatest where several are, or where no time is known: the same in every run."""
    return f"arg_max({value}, CASE WHEN {time} IS NOT NULL THEN row({time}, {value}) END)" if time else f"max({value})"


def _is_of_item(con: duckdb.DuckDBPyConnection, events: Table, item: str, column: Column) -> bool:
    if column.distinct < 2 or column.is_list or (column.time and column.time.unit != "order"):
        return False
    name = quoted(column.name)
    both = (
        f"SELECT {quoted(item)} AS i, {name} AS x FROM {events.looked} "
        f"WHERE {quoted(item)} IS NOT NULL AND {name} IS NOT NULL"
    )
    rows, items, pairs = con.execute(
        f"SELECT count(*), count(DISTINCT i), count(DISTINCT (i, x)) FROM ({both})"
    ).fetchall()[0]
    if not items or rows < OFTEN * items:
        return False
    return bool(pairs <= ALIKE * items) or plain_name(column.name) in PRICE


def _named(name: str) -> str:
    """A column's name from a property's: numbers get a word before them."""
    return f"property_{name}" if name.isdigit() else name


def _number(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0])
