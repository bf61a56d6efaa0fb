"""Place the events: `at`, the split, and whether each is a positive and an interaction; table `placed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.check import check_known, check_split_values, example
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.instants import instant_sql
from workflows.tables.load import Loaded
from workflows.tables.outcome import check_outcome
from workflows.tables.source import quoted
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["OUTSIDE", "PROPENSITY", "SPLITS", "Placed", "place_events", "sql_type"]

SPLITS = ("train", "valid", "test")  # their places are the values of the column `split`
# In data/'s events; no column of a table can be in their way.
PROPENSITY, OUTSIDE = "__propensity", "__outside"


class Placed(msgspec.Struct, frozen=True):
    """What was decided.

    Attributes:
        unit: of the timestamps: "order", "s", ..., or "rows" without any.
        num_dropped: events whose item is unknown.
        valid_given: whether a given split ("column", "files") has valid events.
    """

    unit: str
    num_dropped: int
    valid_given: bool


def sql_type(kind: str) -> str:
    """DuckDB type of an id."""
    return "BIGINT" if kind == "int64" else "VARCHAR"


def place_events(con: duckdb.DuckDBPyConnection, loaded: Loaded, data: DataConfig, split: SplitConfig) -> Placed:
    """Turn `raw_events` into `placed`, an event a row.

    Columns: n, user_id, item_id, instant, split, positive (the first label), interaction (any label), label_k,
    position, propensity, context_k.

    Raises:
        DataError: a bad timestamp or split value, an unknown item (data.unknown_items = "error"), or no train event
            that is a positive.
    """
    if data.timestamp:
        at, unit = instant_sql(con, "raw_events", loaded.events, data.timestamp)
    else:
        at, unit = "__n", "rows"
        is_cut = split.by in ("time", "leave_last_out")
        ordered = "the order of the rows decides the split" if is_cut else "the split is the given one"
        console.say(f"data: no data.timestamp is set, so {ordered}, and histories have no order")
    dropped = _check_items(con, loaded, data)
    given = _given_split(con, split)
    known = f"WHERE {_known(data)}" if dropped else ""
    total = num_rows(con, "raw_events")
    with watched(con, "placing the events in time", total):
        con.execute(
            f"CREATE TABLE placed AS SELECT __n AS n, {quoted(data.user_id)}::{sql_type(loaded.user_type)} AS user_id, "
            f"{quoted(data.item_id)}::{sql_type(loaded.item_type)} AS item_id, {at} AS instant, {given} AS split, "
            f"{', '.join(_columns(data))} FROM raw_events {known}"
        )
    con.execute("DROP TABLE raw_events")
    valid_given = False
    with watched(con, "splitting the events", total, one=False):
        if split.by == "time":
            _split_by_time(con, split)
        elif split.by == "leave_last_out":
            _split_last_out(con)
        else:
            valid_given = _hold_out_valid(con, split, latest=bool(data.timestamp))
    check_outcome(con, data, split)
    return Placed(unit, dropped, valid_given)


def _columns(data: DataConfig) -> list[str]:
    positives = [f"{quoted(label)}::INTEGER = 1" for label in data.labels] or ["true"]
    columns = [f"{positives[0]} AS positive", f"({' OR '.join(positives)}) AS interaction"]
    columns += [f"{quoted(label)}::FLOAT AS label_{k}" for k, label in enumerate(data.labels)]
    columns += [f"{quoted(data.position)}::INTEGER AS position"] if data.position else []
    if data.propensity:
        chance = f"{quoted(data.propensity)}::DOUBLE"
        columns.append(f"CASE WHEN {chance} > 0 AND NOT isnan({chance}) THEN {chance} END AS propensity")
    return columns + [f"{quoted(name)} AS context_{k}" for k, name in enumerate(data.context)]


def _known(data: DataConfig) -> str:
    name = quoted(data.item_id)
    return f"{name} IN (SELECT {name} FROM raw_items)"


def _check_items(con: duckdb.DuckDBPyConnection, loaded: Loaded, data: DataConfig) -> int:
    """The number of events to drop because the items table lacks their item."""
    if not loaded.items:
        return 0
    total, dropped = con.execute(f"SELECT count(*), count(*) FILTER (NOT {_known(data)}) FROM raw_events").fetchall()[0]
    if dropped == total:
        remedy = _nearly_known(con, data) or "correct data.item_id or the tables"
        raise DataError(
            f"events: column '{data.item_id}' must name items of the items table, got unknown items in all {total:,} "
            f"rows, for example {example(con, 'raw_events', 'true')}; {remedy}"
        )
    if dropped and data.unknown_items == "error":
        check_known(con, "raw_events", data.item_id, f"NOT {_known(data)}", _nearly_known(con, data))
    if dropped:
        console.say(f"data: dropped {dropped:,} events whose '{data.item_id}' is not in the items table")
    return int(dropped)


def _nearly_known(con: duckdb.DuckDBPyConnection, data: DataConfig) -> str:
    """The way out where unknown ids are known but for leading zeros, blanks or a decimal; "" elsewhere."""
    name = quoted(data.item_id)
    plain = f"ltrim(regexp_replace(trim({name}::VARCHAR), '[.]0$', ''), '0')"
    near, event, item = con.execute(
        f"SELECT count(*), any_value(e.{name}::VARCHAR), any_value(i.id) FROM raw_events AS e JOIN "
        f"(SELECT {plain} AS plain, any_value({name}::VARCHAR) AS id FROM raw_items GROUP BY 1) AS i "
        f"ON {plain.replace(name, f'e.{name}')} = i.plain WHERE NOT {_known(data).replace(name, f'e.{name}', 1)}"
    ).fetchall()[0]
    if not near:
        return ""
    return (
        f"{near:,} of them differ from an item in leading zeros, blanks or '.0' alone, such as {event!r} and {item!r}: "
        "write the ids alike in both tables"
    )


def _given_split(con: duckdb.DuckDBPyConnection, split: SplitConfig) -> str:
    if split.by not in ("column", "files"):
        return "0::TINYINT"
    column = split.column if split.by == "column" else "__given"
    check_split_values(con, "raw_events", column, SPLITS)
    cases = " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(SPLITS))
    return f"(CASE {quoted(column)}::VARCHAR {cases} END)::TINYINT"


def _split_by_time(con: duckdb.DuckDBPyConnection, split: SplitConfig) -> None:
    """One global cut at the quantiles of `at`; events of one instant fall on the later side together."""
    total = int(con.execute("SELECT count(*) FROM placed").fetchall()[0][0])
    num_test = round(total * split.test_fraction)
    num_later = round(total * (split.valid_fraction + split.test_fraction))
    valid_from, test_from = _instant(con, total - num_later), _instant(con, total - num_test)
    for place, start in ((1, valid_from), (2, test_from)):
        if start is not None:
            con.execute(f"UPDATE placed SET split = {place} WHERE instant >= {start}")


def _instant(con: duckdb.DuckDBPyConnection, place: int) -> int | None:
    found = con.execute(f"SELECT instant FROM placed ORDER BY instant LIMIT 1 OFFSET {place}").fetchall()
    return int(found[0][0]) if found else None


def _split_last_out(con: duckdb.DuckDBPyConnection) -> None:
    """Each user's last event is test, the one before it valid; users of fewer than three events stay in train."""
    latest = "row_number() OVER (PARTITION BY user_id ORDER BY instant DESC, n DESC)"
    place = f"CASE WHEN count(*) OVER (PARTITION BY user_id) < 3 THEN 0 ELSE greatest(0, 3 - {latest}) END"
    con.execute(f"CREATE OR REPLACE TABLE placed AS SELECT * REPLACE (({place})::TINYINT AS split) FROM placed")


def _hold_out_valid(con: duckdb.DuckDBPyConnection, split: SplitConfig, *, latest: bool) -> bool:
    """Where the given split has no valid events: a share of each user's train events, by time or at random.

    Models stop by them and settings are chosen on them. The first train event of an item stays, or what
    is fitted on train would not know the item.

    Returns:
        Whether the given split has valid events, so that none was held out.
    """
    given = int(con.execute("SELECT count(*) FROM placed WHERE split = 1").fetchall()[0][0])
    if given or not split.valid_fraction:
        return given > 0
    order = "instant DESC, n DESC" if latest else "hash(n), n"
    is_held = f"split = 0 AND of_item > 1 AND of_user <= round(own * {split.valid_fraction})"
    numbered = (
        f"SELECT *, row_number() OVER (PARTITION BY user_id, split ORDER BY {order}) AS of_user, "
        "count(*) OVER (PARTITION BY user_id, split) AS own, "
        "row_number() OVER (PARTITION BY item_id, split ORDER BY instant, n) AS of_item FROM placed"
    )
    con.execute(
        "CREATE OR REPLACE TABLE placed AS SELECT * EXCLUDE (of_user, own, of_item) "
        f"REPLACE ((CASE WHEN {is_held} THEN 1 ELSE split END)::TINYINT AS split) FROM ({numbered})"
    )
    held = int(con.execute("SELECT count(*) FROM placed WHERE split = 1").fetchall()[0][0])
    which = "latest" if latest else "drawn"
    console.say(
        f"data: no valid split is given; {held:,} train events, the {which} ones of each user, are held out as it"
    )
    return False
