"""The `at` of an event from whatever the timestamp column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import FLOATS, INTEGERS, Shape, bad_rows, check_no_nulls
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["LARGEST", "NS_PER", "ORDER_BELOW", "instant_sql"]

ORDER_BELOW = 100_000_000  # an integer below this is a place in an order, not an epoch (as seconds: before March 1973)
MAX_EPOCH_S = 9_200_000_000  # later instants do not fit in int64 nanoseconds
NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
LARGEST = {"s": MAX_EPOCH_S, "ms": MAX_EPOCH_S * 10**3, "us": MAX_EPOCH_S * 10**6, "ns": MAX_EPOCH_S * 10**9}
FIRST, LAST = "1677-09-22 00:00:00", "2262-04-11 23:47:16"  # what int64 nanoseconds can hold, in UTC


def instant_sql(con: duckdb.DuckDBPyConnection, relation: str, shape: Shape, column: str) -> tuple[str, str]:
    """The SQL expression of `at`, int64, and the unit that was found.

    Dates and datetimes become epoch nanoseconds (without a zone: as UTC). Integers are epoch s, ms, us or ns by the
    size of the largest one; all below 100,000,000 they are an order and stay as they are (unit "order"). Floats are
    epoch seconds, kept to the microsecond.

    Raises:
        DataError: another type, nulls, no timestamps (NaN, infinity), instants out of range, or of two units.
    """
    found, name = shape[column], quoted(column)
    check_no_nulls(con, "events", relation, column)
    if found.startswith("TIMESTAMP") or found == "DATE":
        _check_range(con, relation, column, found)
        return (f"epoch_ns({name})", "datetime") if found != "DATE" else (f"epoch_ns({name}::TIMESTAMP)", "date")
    if found in FLOATS:
        _check_floats(con, relation, column)
        return (f"CAST(round({name} * 1e6) AS BIGINT) * 1000", "s")
    if found not in INTEGERS:
        raise DataError(
            f"events: timestamp column '{column}' must be a datetime, date, integer or float, got {found.lower()}; "
            "parse it when the file is written"
        )
    unit = _unit(con, relation, column)
    factor = NS_PER.get(unit, 1)
    return (f"{name}::BIGINT" if factor == 1 else f"{name}::BIGINT * {factor}", unit)


def _check_range(con: duckdb.DuckDBPyConnection, relation: str, column: str, kind: str) -> None:
    """Refuse infinite timestamps, and those that int64 nanoseconds cannot hold."""
    name = quoted(column)
    if bad := bad_rows(con, relation, f"NOT isfinite({name})"):
        raise DataError(
            f"events: timestamp column '{column}' must hold no infinity, got {bad}; drop or fill these rows"
        )
    low, high = (f"DATE '{day[:10]}'" if kind == "DATE" else f"TIMESTAMP '{day}'" for day in (FIRST, LAST))
    if bad := bad_rows(con, relation, f"{name} NOT BETWEEN {low} AND {high}"):
        raise DataError(
            f"events: timestamp column '{column}' must lie between {FIRST[:10]} and {LAST[:10]}, got {bad}; correct or "
            "drop these rows"
        )


def _check_floats(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> None:
    """Refuse floats that are not epoch seconds."""
    name = quoted(column)
    if bad := bad_rows(con, relation, f"NOT isfinite({name})"):
        raise DataError(
            f"events: timestamp column '{column}' must hold neither NaN nor infinity, got {bad}; drop or fill these "
            "rows"
        )
    if bad := bad_rows(con, relation, f"abs({name}) > {MAX_EPOCH_S}"):
        largest = con.execute(f"SELECT max(abs({name})) FROM {relation}").fetchall()[0][0]
        raise DataError(
            f"events: timestamp column '{column}' must hold epoch seconds as it is a float, got values up to "
            f"{largest:g} in {bad}; divide it to seconds or make it an integer"
        )


def _unit(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> str:
    """The unit of integers: by the largest, which must not make timestamps of 1970 of seconds beside it."""
    name = quoted(column)
    smallest, largest = con.execute(f"SELECT min({name}), max(abs({name}::HUGEINT)) FROM {relation}").fetchall()[0]
    if largest < ORDER_BELOW:
        return "order"
    unit = next((unit for unit, limit in LARGEST.items() if largest <= limit), "")
    if not unit:
        bad = bad_rows(con, relation, f"abs({name}::HUGEINT) > {LARGEST['ns']}")
        raise DataError(
            f"events: timestamp column '{column}' must hold epoch s, ms, us or ns, got {bad}; correct or drop these "
            "rows"
        )
    smaller = {"s": 0, "ms": LARGEST["s"], "us": LARGEST["ms"], "ns": LARGEST["us"]}[unit]
    # Timestamps on both sides of 1970 have some near it, which look like a smaller unit; a stray -1 is no such one.
    is_around_1970 = smallest < -smaller
    odd = f"abs({name}::HUGEINT) BETWEEN {ORDER_BELOW} AND {smaller}"
    if not is_around_1970 and (bad := bad_rows(con, relation, odd)):
        raise DataError(
            f"events: timestamp column '{column}' must hold one unit, got epoch {unit} up to {largest}, but smaller "
            f"units in {bad}; write all of them in one unit, or as datetimes"
        )
    return unit
