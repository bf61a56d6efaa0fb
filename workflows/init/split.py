"""The split that the times of the events allow."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from workflows.init.profile import Table
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["MIN_USERS", "Split", "given_split", "split_of"]

WARM = 0.25  # of the test events, those whose user has events before; with fewer there is little to measure
LONG = timedelta(days=90)
WEEK = timedelta(days=7)
WEEKS_EVENTS = 20_000
MIN_INSTANTS = 20
NUM_READ = 1_000_000  # rows of a large table that are enough to choose by
MIN_USERS = 100


class Split(msgspec.Struct):
    """The [split] section, and why.

    Attributes:
        lines: of TOML.
        why: in comments.
        doubts: questions with the line that answers them otherwise.
    """

    lines: list[str]
    why: list[str]
    doubts: list[tuple[str, str]] = []


def split_of(con: duckdb.DuckDBPyConnection, events: Table, user: str, time: str | None) -> Split:
    """Choose between a cut in time and each user's last event.

    Args:
        con: the connection.
        events: the events; of a large table all rows of some users are read.
        user: column of the users.
        time: column of the instants.
    """
    if given := given_split(events):
        why = [f"'{given}' says which events are train, valid and test"]
        return Split(['by = "column"', f"column = {json.dumps(given, ensure_ascii=False)}"], why)
    found = events.columns[time].time if time else None
    if not found:
        return _last_out("no column says when an event was, so the order of the rows stands for it")
    if found.unit == "order":
        return _last_out(f"'{time}' is an order and no time; each user may have one of their own")
    rows = _histories(con, events, user, found.sql)
    num, first, last, instants = con.execute(
        f"SELECT count(t), min(t), max(t), approx_count_distinct(t) FROM ({rows})"
    ).fetchall()[0]
    span: timedelta = last - first
    told = f"'{time}' goes from {_shown(first)} to {_shown(last)}"
    if instants < MIN_INSTANTS:
        return _last_out(f"{told}, with {instants:,} instants, too few for a cut")
    recent = con.execute(f"SELECT count(*) FROM ({rows}) WHERE t > ?", [last - WEEK]).fetchall()[0][0]
    recent *= max(1.0, events.num_rows / num)  # of a large table some users' rows are read
    share = 0.1
    if span >= LONG and recent >= WEEKS_EVENTS:
        share = min(0.1, max(0.01, round(recent / max(num, events.num_rows), 2)))
    return _by_time(con, rows, share, told)


def _histories(con: duckdb.DuckDBPyConnection, events: Table, user: str, time: str) -> str:
    """A query of user and instant: all rows, or of a large table all rows of some users, which one pass reads."""
    relation = events.looked if events.is_whole else events.sql
    rows = f"SELECT {quoted(user)} AS u, {time} AS t FROM {relation} WHERE {quoted(user)} IS NOT NULL"
    if events.is_whole or events.opened.stored:
        return rows
    buckets = max(1, min(events.num_rows // NUM_READ, events.columns[user].distinct // MIN_USERS))
    some = f"{rows} AND hash({quoted(user)}) % {buckets} = 0"
    con.execute(f"CREATE OR REPLACE TEMP TABLE histories AS {some}")
    return "SELECT * FROM histories"


def given_split(events: Table) -> str:
    """The column that says the split; "" where there is none."""
    for name, column in events.columns.items():
        values = {str(value) for value, _ in column.top}
        if {"train", "test"} <= values <= {"train", "valid", "test"} and not column.nulls:
            return name
    return ""


def _by_time(con: duckdb.DuckDBPyConnection, rows: str, share: float, told: str) -> Split:
    cuts = con.execute(f"SELECT quantile_disc(t, [{1 - 2 * share:.4f}, {1 - share:.4f}]) FROM ({rows})").fetchall()[0][
        0
    ]
    warm = con.execute(
        f"WITH rows AS ({rows}), firsts AS (SELECT u, min(t) AS f FROM rows GROUP BY 1) "
        "SELECT avg((f < ?)::INTEGER) FROM rows JOIN firsts USING (u) WHERE t >= ?",
        [cuts[1], cuts[1]],
    ).fetchall()[0][0]
    warm = float(warm or 0.0)
    if warm < WARM:
        split = _last_out(f"{told}; cut in time, {warm:.0%} of the test events would be of users with events before")
        split.doubts.append(("is the cut in time what matters, with mostly new users?", 'by = "time"'))
        return split
    why = [
        f"{told}: valid begins at about {_shown(cuts[0])}, test at {_shown(cuts[1])};",
        f"{warm:.0%} of the test events are of users with events before",
    ]
    return Split(['by = "time"', f"valid_fraction = {share:g}", f"test_fraction = {share:g}"], why)


def _last_out(why: str) -> Split:
    return Split(['by = "leave_last_out"'], [f"{why}: the last event of each user is test, the one before it valid"])


def _shown(instant: datetime) -> str:
    return instant.isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
