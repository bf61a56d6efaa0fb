"""Events that stand in several tables, or of which a part stands in another row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.init.forms import stem_of
from workflows.init.opening import Opened
from workflows.init.profile import Table, look
from workflows.init.words import ITEM, USER, plain_name, rank
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["EVENT", "together", "with_user_of", "with_whole_orders"]

EVENT = "event"
ORDERS = ("name", "order", "orderid", "ordername", "ordernumber", "transactionid", "invoiceno", "invoice", "basketid")


def together(con: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> Table:
    """Tables of one kind as one table; a column says which each row is of."""
    names = [stem_of(table.opened.files[0]) for table in tables]
    event = EVENT if not any(plain_name(name) == EVENT for table in tables for name in table.columns) else "event_table"
    parts = [
        f"SELECT *, '{name.replace(chr(39), chr(39) * 2)}' AS {event} FROM {table.opened.sql}"
        for name, table in zip(names, tables, strict=True)
    ]
    sql = f"({' UNION ALL BY NAME '.join(parts)})"
    reason = f"it is put together from {' and '.join(table.name for table in tables)}; '{event}' says which"
    return _merged(con, tables, sql, " + ".join(names), reason)


def with_user_of(
    con: duckdb.DuckDBPyConnection, tables: Sequence[Table], user: str, item: str
) -> tuple[Table, list[str]] | None:
    """Rows with an item and an order, each with the user of the order; their names. None where there are no such."""
    for orders in tables:
        known = user if user in orders.columns else _first(orders, USER)
        if not known:
            continue
        for key in (name for name in orders.columns if name != known and orders.is_key(name)):
            of_orders = [table for table in tables if _lines(table, orders, key, item)]
            if of_orders:
                return _joined(con, of_orders, orders, key), [*(table.name for table in of_orders), orders.name]
    return None


def with_whole_orders(con: duckdb.DuckDBPyConnection, events: Table, wanted: Sequence[str]) -> Table:
    """Give each line of an order the user and the time that stand in its first line alone."""
    lacking = [name for name in dict.fromkeys(wanted) if name and events.columns[name].nulls]
    for order in (name for name in events.columns if plain_name(name) in ORDERS and name not in lacking):
        column = events.columns[order]
        if not lacking or column.nulls or column.distinct == events.num_looked:
            continue
        kept = [name for name in lacking if _is_one_an_order(con, events, order, name)]
        if not kept:
            continue
        filled = ", ".join(
            f"max({quoted(name)}) OVER (PARTITION BY {quoted(order)}) AS {quoted(name)}" for name in kept
        )
        sql = f"(SELECT * REPLACE ({filled}) FROM {events.opened.sql})"
        reason = f"{' and '.join(kept)} of each '{order}' stand in its first line alone"
        return _merged(con, [events], sql, events.name, reason)
    return events


def _is_one_an_order(con: duckdb.DuckDBPyConnection, events: Table, order: str, name: str) -> bool:
    groups = (
        f"SELECT count(DISTINCT {quoted(name)}) AS values, count(*) - count({quoted(name)}) AS nulls "
        f"FROM {events.looked} GROUP BY {quoted(order)}"
    )
    most, filled = con.execute(
        f"SELECT max(values), count(*) FILTER (values = 1 AND nulls > 0) FROM ({groups})"
    ).fetchall()[0]
    return int(most) == 1 and int(filled) > 0


def _first(table: Table, known: Sequence[str]) -> str:
    found = [(place, name) for name in table.columns if (place := rank(name, known)) is not None]
    return min(found)[1] if found else ""


def _lines(table: Table, orders: Table, key: str, item: str) -> bool:
    """Whether a table has the lines of orders: their key in several rows, and an item."""
    if table.name == orders.name or key not in table.columns or table.is_key(key):
        return False
    return item in table.columns if item else bool(_first(table, ITEM))


def _joined(con: duckdb.DuckDBPyConnection, lines: Sequence[Table], orders: Table, key: str) -> Table:
    taken = {name for table in lines for name in table.columns}
    more = ", ".join(f"o.{quoted(name)}" for name in orders.columns if name not in taken)
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {table.opened.sql}" for table in lines)
    name = quoted(key)
    sql = (
        f"(SELECT l.*, {more} FROM ({rows}) AS l JOIN {orders.opened.sql} AS o "
        f"ON l.{name}::VARCHAR = o.{name}::VARCHAR)"
    )
    names = " and ".join(table.name for table in lines)
    reason = f"the user of each row of {names} is in {orders.name}, joined by '{key}'"
    return _merged(con, [*lines, orders], sql, f"{stem_of(lines[0].opened.files[0])} with {orders.name}", reason)


def _merged(con: duckdb.DuckDBPyConnection, tables: Sequence[Table], sql: str, name: str, reason: str) -> Table:
    files = [file for table in tables for file in table.opened.files]
    reasons = list(dict.fromkeys([*(one for table in tables for one in table.opened.reasons), reason]))
    guess = "; ".join(table.opened.guess for table in tables if table.opened.guess)
    left = [one for table in tables for one in table.opened.left]
    is_text = any(table.opened.is_text for table in tables)
    number = int(con.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0])
    return look(con, Opened(name, files, sql, is_text, reasons, guess, left, is_made=True), number)
