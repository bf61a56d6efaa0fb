"""Compare a column of the items with the value of a rule, in the type that both share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["compare", "in_words", "way_out"]

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "in": lambda column, values: pc.is_in(column, value_set=values),
    "not_in": lambda column, values: pc.invert(pc.is_in(column, value_set=values)),
}
DIGITS_OF_UINT64 = 20


def compare(column: pa.ChunkedArray, op: str, value: Any) -> pa.ChunkedArray:
    """Whether each value of a column holds, null for some nulls.

    Args:
        column: [N], of any type.
        op: key of COMPARE.
        value: of a rule; a list for "in" and "not_in". A timestamp without a zone is UTC.

    Raises:
        pa.ArrowException: the types cannot be compared.
        OverflowError: an integer that no type of Arrow holds.
    """
    kind = column.type
    if isinstance(value, list):
        values = [_timestamp(kind, one) for one in value]
        whole = pa.types.is_uint64(kind) and all(type(one) is int for one in values)
        return COMPARE[op](column, pa.array(values, kind) if whole else pa.array(values).cast(kind))
    value = _timestamp(kind, value)
    if pa.types.is_integer(kind) and isinstance(value, float):
        if not value.is_integer():  # below 2^53, so that no rounding of an integer passes it
            return COMPARE[op](pc.cast(column, pa.float64(), safe=False), pa.scalar(value))
        value = int(value)
    if pa.types.is_uint64(kind) and type(value) is int:
        return COMPARE[op](column.cast(pa.decimal128(DIGITS_OF_UINT64, 0)), pa.scalar(Decimal(value)))
    scalar = pa.scalar(value)
    if pa.types.is_floating(kind) and isinstance(value, float):
        scalar = scalar.cast(kind)  # 0.1 is another number in 32 bits than in 64
    return COMPARE[op](column, scalar)


def in_words(value: Any) -> str:
    """A value as a config or a table shows it: dates and timestamps in ISO 8601."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_words, value))}]"
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def way_out(kind: pa.DataType) -> str:
    """The values that a rule on a column of this type can take, for error sentences."""
    if pa.types.is_date(kind):
        return "write a date without quotes, such as value = 2024-01-31"
    if pa.types.is_timestamp(kind):
        return "write a date or a timestamp without quotes, such as value = 2024-01-31 or value = 2024-01-31T12:00:00"
    if pa.types.is_boolean(kind):
        return "write true or false, without quotes"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "write a text in quotes"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "write a number that the type can hold, without quotes"
    return "derive a column of numbers, texts, dates or booleans from it and name that in the rule"


def _timestamp(kind: pa.DataType, value: Any) -> Any:
    """A timestamp with a zone where the column has one, else the same in UTC without."""
    if not isinstance(value, datetime):
        return value
    utc = value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return utc if pa.types.is_timestamp(kind) and kind.tz else utc.replace(tzinfo=None)
