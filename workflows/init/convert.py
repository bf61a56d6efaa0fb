"""Tables that a config cannot name as they are, written as Parquet beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workflows.core.errors import DataError
from workflows.init.entities import Entity
from workflows.init.profile import Column, Table, typed, with_types
from workflows.init.roles import Sketch
from workflows.tables.check import FLOATS, INTEGERS
from workflows.tables.csv_types import Role
from workflows.tables.paths import text_sql
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Written", "id_types", "write_entity", "write_events"]


class Written(msgspec.Struct, frozen=True):
    """Where the config finds a table.

    Attributes:
        spec: what it names.
        reasons: why the table was written anew, or is a query; empty where it is named as it is.
        num_left_out: rows that were left out.
        is_copy: whether it was written as Parquet; else a query of the warehouse reads it anew.
    """

    spec: str | list[str]
    reasons: list[str]
    num_left_out: int = 0
    is_copy: bool = True


def id_types(sketch: Sketch) -> tuple[str, str]:
    """DuckDB types of user and item ids in all tables: BIGINT where all of them are integers, else VARCHAR."""
    users = [(sketch.events, sketch.user)] + ([(sketch.users.table, sketch.users.key)] if sketch.users else [])
    items = [(sketch.events, sketch.item)] + ([(sketch.items.table, sketch.items.key)] if sketch.items else [])
    return _common(users), _common(items)


def write_events(con: duckdb.DuckDBPyConnection, sketch: Sketch, folder: Path) -> Written:
    """The events as a config can name them.

    Args:
        con: the connection.
        sketch: what the tables are.
        folder: for tables that have to be written.

    Raises:
        DataError: no event has a user, an item and a time.
    """
    events = sketch.events
    needed = [name for name in (sketch.user, sketch.item, sketch.time) if name]
    reasons = [*events.opened.reasons, *_reasons(events, [sketch.user, sketch.item])]
    time = events.columns[sketch.time].time if sketch.time else None
    reasons += [time.reason] if time and time.reason else []
    lacking = {name: _num_nulls(con, events, name) for name in needed}
    reasons += [f"{count:,} of its rows have no '{name}'" for name, count in lacking.items() if count]
    if not reasons:
        return Written(events.opened.spec, [])
    casts = dict(zip((sketch.user, sketch.item), id_types(sketch), strict=True))
    replaced = [f"{_as_id(events.columns[name], kind)} AS {quoted(name)}" for name, kind in casts.items()]
    roles: dict[str, Role] = {}
    if sketch.time and time and time.cast:
        replaced.append(f"{time.cast} AS {quoted(sketch.time)}")
    elif sketch.time:
        roles[sketch.time] = "timestamp"
    rows = with_types(events.opened.sql, typed(con, events.opened.sql, roles)) if events.opened.is_text else events.sql
    known = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in needed)
    # By all columns: rows of one user, item and instant, as a click and its purchase, have no order of their own.
    by = dict.fromkeys([*needed[2:], *needed[:2], *events.columns])
    ordered = f" ORDER BY {', '.join(map(quoted, by))}" if events.opened.is_made else ""
    sql = f"SELECT * REPLACE ({', '.join(replaced)}) FROM {rows} WHERE {known}{ordered}"
    path = folder / "events.parquet"
    if not con.execute(f"SELECT 1 FROM {rows} WHERE {known} LIMIT 1").fetchall():
        empty = [name for name, count in lacking.items() if count == events.num_rows]
        what = f"{_listed(empty)} is empty in all rows" if empty else f"no row has all of {_listed(needed)}"
        raise DataError(f"{events.name}: {what}, and an event needs a value there; fill it, or name another column")
    written = _write(con, sql, path)
    return Written(str(path), list(dict.fromkeys(reasons)), events.num_rows - written)


def write_entity(con: duckdb.DuckDBPyConnection, entity: Entity, name: str, kind: str, path: Path) -> Written:
    """The items or users as a config can name them: an id once, under the name that it has in the events.

    Args:
        con: the connection.
        entity: the table.
        name: of the ids in the events.
        kind: DuckDB type of the ids.
        path: of the Parquet file, if one is needed.
    """
    table, key = entity.table, entity.key
    reasons = [*table.opened.reasons, *_reasons(table, [key])]
    reasons += [f"its ids are called '{key}', and '{name}' in the events"] if key != name else []
    nulls = _num_nulls(con, table, key)
    reasons += [f"{nulls:,} of its rows have no '{key}'"] if nulls else []
    reasons += [] if _is_unique(con, table, key) else ["it has several rows of an id, of which the last is kept"]
    if not reasons:
        return Written(table.opened.spec, [])
    rows = with_types(table.opened.sql, typed(con, table.opened.sql)) if table.opened.is_text else table.sql
    numbered = f"(SELECT *, row_number() OVER () AS __row FROM {rows} WHERE {quoted(key)} IS NOT NULL)"
    others = [one for one in table.columns if one not in (key, name)]
    wanted = [f"{_as_id(table.columns[key], kind)} AS {quoted(name)}", *map(quoted, others)]
    sql = (
        f"SELECT {', '.join(wanted)} FROM {numbered} "
        f"QUALIFY row_number() OVER (PARTITION BY {quoted(key)} ORDER BY __row DESC) = 1 ORDER BY 1"
    )
    written = _write(con, sql, path)
    return Written(str(path), list(dict.fromkeys(reasons)), table.num_rows - written)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))


def _common(columns: Sequence[tuple[Table, str]]) -> str:
    kinds = {table.columns[name].type for table, name in columns}
    return "BIGINT" if kinds <= INTEGERS | FLOATS else "VARCHAR"


def _reasons(table: Table, ids: Sequence[str]) -> list[str]:
    """Ids of Parquet files, and numbers of texts, that no config takes; ids of a CSV are read as they are written."""
    if table.opened.is_text:
        odd: dict[str, list[str]] = {}
        for name, column in table.columns.items():
            odd.setdefault(column.written, []).append(f"'{name}'")
        return [f"its {' and '.join(names)} are written {written}" for written, names in odd.items() if written]
    kinds = [name for name in ids if table.columns[name].type not in {*INTEGERS, "VARCHAR"}]
    return [f"its ids '{name}' are {table.columns[name].type.lower()}" for name in kinds]


def _as_id(column: Column, kind: str) -> str:
    name = quoted(column.name)
    return f"{name}::BIGINT::{kind}" if column.type in FLOATS else f"{name}::{kind}"


def _num_nulls(con: duckdb.DuckDBPyConnection, table: Table, name: str) -> int:
    if table.is_whole:
        return table.columns[name].nulls
    return int(con.execute(f"SELECT count(*) - count({quoted(name)}) FROM {table.sql}").fetchall()[0][0])


def _is_unique(con: duckdb.DuckDBPyConnection, table: Table, name: str) -> bool:
    relation = table.looked if table.is_whole else table.sql
    return not con.execute(
        f"SELECT 1 FROM {relation} WHERE {quoted(name)} IS NOT NULL GROUP BY {quoted(name)} HAVING count(*) > 1 LIMIT 1"
    ).fetchall()


def _write(con: duckdb.DuckDBPyConnection, sql: str, path: Path) -> int:
    """Write the rows, as a whole or not at all; their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    try:
        found = con.execute(
            f"COPY ({sql}) TO {text_sql(str(unfinished))} (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return int(found[0][0])
