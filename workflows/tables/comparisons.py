"""The condition of a label as SQL: exact for every digit, and null wherever the column says nothing."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from workflows.core.errors import DataError
from workflows.tables.check import FLOATS, INTEGERS
from workflows.tables.labels import Condition

__all__ = ["comparison_sql"]

WHOLE = {*INTEGERS, "HUGEINT", "UHUGEINT"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{3}|\.\d{6})?)?([+-]\d\d:\d\d|Z)?)?")
NANOSECOND_YEARS = range(1678, 2262)


def comparison_sql(label: str, condition: Condition, column: str, kind: str) -> str:
    """The condition for DuckDB.

    Args:
        label: name of the label, for the message.
        condition: the comparison, as the config gives it.
        column: SQL of its column.
        kind: DuckDB type of that; the connection must be in the zone UTC.

    Returns:
        SQL that is true, false, or null where the column is null or NaN.

    Raises:
        DataError: the column cannot be compared with the value.
    """
    op = "=" if condition.op == "==" else condition.op
    sql = _of_text(column, op, condition.value, kind) if isinstance(condition.value, str) else None
    if kind == "BOOLEAN":
        sql = _of_boolean(column, op, condition.value)
    elif not isinstance(condition.value, bool | str):
        sql = _of_number(column, op, condition.value, kind)
    if sql is None:
        what = {bool: "a boolean", str: "a text"}.get(type(condition.value), "a number")
        raise DataError(
            f"events: data.labels.{label} compares column '{condition.column}' with {what}, got {kind.lower()}; "
            f"{_remedy(condition, kind)}"
        )
    return f"({sql})"


def _of_boolean(column: str, op: str, value: bool | int | float | str) -> str | None:
    if isinstance(value, str):
        if value.lower() not in ("true", "false") or op not in ("=", "!="):
            return None
        value = value.lower() == "true"
    return f"{column}::TINYINT {op} {int(value) if isinstance(value, bool) else value!r}"


def _of_number(column: str, op: str, value: int | float, kind: str) -> str | None:
    if kind in WHOLE:
        # A value with a fraction is below 2^53, so that no rounding of an integer passes it.
        return f"{column} {op} {value}" if isinstance(value, int) else f"{column}::DOUBLE {op} {value!r}::DOUBLE"
    if kind in FLOATS:
        wide = f"{column}::DOUBLE" if isinstance(value, int) else column  # 0.1 is another number in 32 bits
        return f"CASE WHEN isnan({column}) THEN NULL ELSE {wide} {op} {value!r} END"  # DuckDB: NaN is above all numbers
    if found := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind):
        fits = abs(value) < 10 ** (int(found[1]) - int(found[2]))
        return f"{column} {op} {value!r}" if fits else f"{column}::DOUBLE {op} {value!r}::DOUBLE"
    return None


def _of_text(column: str, op: str, value: str, kind: str) -> str | None:
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        return f"{column}::VARCHAR {op} '{value.replace(chr(39), chr(39) * 2)}'"
    timestamp = _timestamp(value) if kind == "DATE" or kind.startswith("TIMESTAMP") else None
    if timestamp is None:
        return None
    if kind == "TIMESTAMP WITH TIME ZONE":
        column = f"({column} AT TIME ZONE 'UTC')"
    elif kind != "TIMESTAMP_NS" or timestamp.year not in NANOSECOND_YEARS:
        column = f"{column}::TIMESTAMP"
    return f"{column} {op} TIMESTAMP '{timestamp.isoformat(sep=' ')}'"


def _timestamp(text: str) -> datetime | None:
    """An ISO date (its first instant) or timestamp, in UTC where it names a zone."""
    if not TIMESTAMP.fullmatch(text.strip()):
        return None
    try:
        timestamp = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return timestamp.astimezone(timezone.utc).replace(tzinfo=None) if timestamp.tzinfo else timestamp


def _remedy(condition: Condition, kind: str) -> str:
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        return "put the value in quotes to compare texts, or write the column as numbers"
    if kind == "BOOLEAN":
        return f"name the column itself (labels = ['{condition.column}']), or write {condition.column} == true"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return "write the value as '2024-01-31' or '2024-01-31 12:00:00'"
    if kind in WHOLE | FLOATS or kind.startswith("DECIMAL"):
        return "write 1 or 0" if isinstance(condition.value, bool) else "write the value as a number, without quotes"
    return "derive a 0/1 column from it and name that in data.labels"
