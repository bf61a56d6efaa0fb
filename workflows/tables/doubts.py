"""What of tables that can be used is probably not meant: said, since nothing else would tell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from workflows.core import console
from workflows.tables.config import DataConfig
from workflows.tables.csv_types import Use
from workflows.tables.load import Loaded
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["say_doubts"]

NS_PER_DAY = 86_400 * 10**9
MANY_EVENTS, LARGE_SHARE = 1_000, 0.1  # of one user, from which it is hardly a person
FEW_USERS = 0.05  # of the events' users, in the users table


def say_doubts(
    con: duckdb.DuckDBPyConnection, loaded: Loaded, data: DataConfig, unit: str, uses: Mapping[str, Mapping[str, Use]]
) -> None:
    """Look at the tables `placed`, `raw_items` and `raw_users`.

    Args:
        con: the connection.
        loaded: which tables there are.
        data: what their columns mean.
        unit: of the instants, as `place_events` found it.
        uses: the features' columns by table.
    """
    doubts = [_future(con, data, unit), _busy(con, data), *_empty(con, loaded, uses), _unread(data, uses)]
    doubts.append(_users(con, data) if loaded.users else "")
    for doubt in filter(None, doubts):
        console.say(f"data: {doubt}")


def _future(con: duckdb.DuckDBPyConnection, data: DataConfig, unit: str) -> str:
    """Events later than tomorrow; the newest of them ends the log, and what is recent is counted back from it."""
    if unit in ("order", "rows"):
        return ""
    count, last = con.execute(
        "SELECT count(*), max(make_timestamp_ns(instant)) FROM placed WHERE instant > ?",
        [time.time_ns() + NS_PER_DAY],
    ).fetchall()[0]
    if not count:
        return ""
    what = f"{count:,} event{'s are' if count > 1 else ' is'} later than tomorrow, the last at {str(last)[:19]}"
    return f"{what}: what is recent is counted back from there; correct '{data.timestamp}' if that is not meant"


def _busy(con: duckdb.DuckDBPyConnection, data: DataConfig) -> str:
    """The user of a large part of the events."""
    total, user, most = con.execute(
        "SELECT sum(n)::BIGINT, arg_max(user_id, n), max(n) FROM (SELECT user_id, count(*) AS n FROM placed GROUP BY 1)"
    ).fetchall()[0]
    if most < MANY_EVENTS or most < LARGE_SHARE * total:
        return ""
    what = f"one user, {data.user_id} = {user!r}, has {most:,} of {total:,} events ({most / total:.0%})"
    return f"{what}; leave a robot or a shared account out, since it counts that often in all that is learnt"


def _empty(con: duckdb.DuckDBPyConnection, loaded: Loaded, uses: Mapping[str, Mapping[str, Use]]) -> Iterator[str]:
    """Features of columns without a value."""
    for table, shape in (("items", loaded.items), ("users", loaded.users)):
        names = [name for name in uses.get(table, {}) if name in shape]
        if not names:
            continue
        counts = ", ".join(f"count({quoted(name)})" for name in names)
        found = con.execute(f"SELECT {counts} FROM raw_{table}").fetchall()[0]
        for name in (name for name, count in zip(names, found, strict=True) if not count):
            yield f"{table}: '{name}' is empty in all rows, so features.{table}.{quoted(name)} says nothing; drop it"


def _unread(data: DataConfig, uses: Mapping[str, Mapping[str, Use]]) -> str:
    """Context that no model reads, so that no request can carry it."""
    names = [f"'{name}'" for name in data.context if name not in uses.get("context", {})]
    if not names:
        return ""
    return f"data.context names {', '.join(names)}, and [features.context] does not: no request can carry it, so add it"


def _users(con: duckdb.DuckDBPyConnection, data: DataConfig) -> str:
    """Events and users that name users by different keys."""
    name = quoted(data.user_id)
    total, known, event = con.execute(
        f"WITH users AS (SELECT DISTINCT user_id AS u FROM placed), known AS (SELECT {name} AS k FROM raw_users) "
        "SELECT count(*), count(*) FILTER (u IN (SELECT k FROM known)), "
        "min(u) FILTER (u NOT IN (SELECT k FROM known)) FROM users"
    ).fetchall()[0]
    if known >= FEW_USERS * total:
        return ""
    other = con.execute(f"SELECT min({name}) FROM raw_users").fetchall()[0][0]
    return (
        f"{known:,} of the {total:,} users of the events are in the users table, {event!r} is not and {other!r} is: "
        "the others have no features of users; if they are the same users, write their ids alike"
    )
