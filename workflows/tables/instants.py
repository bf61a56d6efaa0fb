"""The `at` of an event from whatever the timestamp column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import FLOATS, INTEGERS, Shape, check_no_nulls
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["instant_sql"]

ORDER_BELOW = 100_000_000  # an integer below this is a place in an order, not an epoch (as seconds: before March 1973)
MAX_EPOCH_S = 9_200_000_000  # later instants do not fit in int64 nanoseconds
NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def instant_sql(con: duckdb.DuckDBPyConnection, relation: str, shape: Shape, column: str) -> tuple[str, str]:
    """The SQL expression of `at`, int64, and the unit that was found.

    Dates and datetimes become epoch nanoseconds (without a zone: as UTC). Integers are epoch s, ms, us or ns by the
    size of the largest one; all below 100,000,000 they are an order and stay as they are (unit "order"). Floats are
    epoch seconds, kept to the microsecond.

    Raises:
        DataError: another type, nulls, or instants out of range.
    """
    found, name = shape[column], quoted(column)
    check_no_nulls(con, "events", relation, column)
    if found.startswith("TIMESTAMP"):
        return (f"epoch_ns({name})", "datetime")
    if found == "DATE":
        return (f"epoch_ns({name}::TIMESTAMP)", "date")
    if found not in INTEGERS | FLOATS:
        raise DataError(
            f"events: timestamp column '{column}' must be a datetime, date, integer or float, got {found.lower()}; "
            "parse it when the file is written"
        )
    largest = con.execute(f"SELECT max(abs({name}::DOUBLE)) FROM {relation}").fetchall()[0][0]
    if found in FLOATS:
        if not largest <= MAX_EPOCH_S:
            raise DataError(
                f"events: timestamp column '{column}' must hold epoch seconds as it is a float, got values up to "
                f"{largest:g}; divide it to seconds or make it an integer"
            )
        return (f"CAST(round({name} * 1e6) AS BIGINT) * 1000", "s")
    unit = _unit(largest)
    factor = NS_PER.get(unit, 1)
    return (f"{name}::BIGINT" if factor == 1 else f"{name}::BIGINT * {factor}", unit)


def _unit(largest: float) -> str:
    if largest < ORDER_BELOW:
        return "order"
    limit = MAX_EPOCH_S
    for unit in ("s", "ms", "us"):
        if largest <= limit:
            return unit
        limit *= 1000
    return "ns"
