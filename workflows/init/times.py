"""Whether a column holds instants, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from workflows.tables.check import FLOATS, INTEGERS
from workflows.tables.csv_types import Bad, Settled, Use, settle
from workflows.tables.instants import LARGEST, NS_PER, ORDER_BELOW
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Time", "looks_like_dates", "nearly_time", "time_of"]

FIRST_S, LAST_S = 631_152_000, 2_051_222_400  # of the years 1990 to 2034
MAX_WRONG = 0.2  # of a column's values, for it to be one of times with mistakes
FORMATS = {
    "%m %d, %Y": "09 13, 2009",
    "%a %b %d %H:%M:%S %z %Y": "Wed Mar 22 11:37:04 -0700 2017",
    "%b %d, %Y": "Nov 5, 2011",
    "%B %d, %Y": "November 5, 2011",
    "%d %b %Y, %H:%M": "31 Jan 2024, 12:30",
    "%d %b %Y %H:%M": "31 Jan 2024 12:30",
    "%d %b %Y": "31 Jan 2024",
    "%d-%b-%Y": "31-Jan-2024",
    "%b %d %Y": "Jan 31 2024",
    "%Y%m%d%H%M%S": "20240131123000",
    "%Y%m%d": "20240131",
    "%d/%m/%y": "31/01/24",
    "%m/%d/%y": "01/31/24",
    "%d.%m.%y": "31.01.24",
    "%d-%m-%y": "31-01-24",
    "%d/%m/%y %H:%M": "31/01/24 12:30",
    "%m/%d/%y %H:%M": "01/31/24 12:30",
    "%d.%m.%y %H:%M": "31.01.24 12:30",
    "%y/%m/%d": "24/01/31",
    "%y-%m-%d": "24-01-31",
    "%y.%m.%d": "24.01.31",
    "%y/%m/%d %H:%M": "24/01/31 12:30",
    "%y.%m.%d %H:%M": "24.01.31 12:30",
}
# Of two forms that read the same texts as other days, both fit a column of the first twelve days of months alone.
TWINS = {form: form.replace("%d/%m", "%m/%d") for form in FORMATS if form.startswith("%d/%m")}
# How days of the year 24 may be meant that read so are of many years; of themselves these forms are not tried.
YEAR_FIRST = {
    form: re.sub(r"%[dm](.)%[dm].%y", r"%y\1%m\1%d", form) for form in FORMATS if re.match(r"%[dm].%[dm].%y", form)
}
NUM_TRIED = 50
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
DATE_LIKE = re.compile(
    rf"\d{{1,4}}([-/. ])\d{{1,2}}\1\d{{1,4}}\b.*|([a-z]{{3,9}},? )?({MONTHS})[a-z]*[-. ]\d{{1,4}}\b.*"
    rf"|\d{{1,2}}[-. ]+({MONTHS})[a-z]*[-., ]+\d{{2,4}}\b.*",
    re.IGNORECASE,
)


class Time(msgspec.Struct, frozen=True):
    """How a column holds instants.

    Attributes:
        unit: "datetime", "date", "s", "ms", "us", "ns", or "order" of small integers.
        sql: a TIMESTAMP of it.
        reason: why a config cannot name the column as it is; empty where it can.
        cast: the SQL that a converted column gets; empty where it stays.
    """

    unit: str
    sql: str
    reason: str = ""
    cast: str = ""


def time_of(
    con: duckdb.DuckDBPyConnection, relation: str, name: str, kind: str, low: object, high: object
) -> Time | None:
    """The instants of a column; none where its values are no such.

    Args:
        con: the connection, in the zone UTC.
        relation: its rows.
        name: of the column.
        kind: its DuckDB type; texts stand as they are written.
        low: its smallest value.
        high: its largest value.
    """
    column = quoted(name)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return Time("date" if kind == "DATE" else "datetime", f"{column}::TIMESTAMP")
    if kind in INTEGERS or kind in FLOATS:
        return _of_number(con, relation, column, kind, float(str(low)), float(str(high)))
    if kind == "VARCHAR":
        return _of_text(con, relation, name)
    return None


def nearly_time(con: duckdb.DuckDBPyConnection, relation: str, name: str, is_text: bool) -> str:
    """What keeps a column of texts or numbers from being read as times, in some words; "" where few of them are any."""
    column = quoted(name)
    if not is_text:
        return _units(con, relation, column)
    found = settle(con, relation, [Use(name, "timestamp", "")])[0]
    if not isinstance(found, Bad):
        return ""
    valued, wrong, example = con.execute(
        f"SELECT count({column}), count(*) FILTER ({found.condition}), any_value({column}) FILTER ({found.condition}) "
        f"FROM {relation}"
    ).fetchall()[0]
    if not 0 < wrong <= MAX_WRONG * valued:
        return ""
    return f"{wrong:,} of its {valued:,} values cannot be read, such as {example!r}: expected {found.wanted}"


def _units(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> str:
    """The units of instants that are in several; "" of numbers that are no instants."""
    per_s = {unit: NS_PER["s"] // NS_PER[unit] for unit in LARGEST}
    inside = {
        unit: f"{column}::DOUBLE BETWEEN {FIRST_S * times}::DOUBLE AND {LAST_S * times}::DOUBLE"
        for unit, times in per_s.items()
    }
    counts = ", ".join(f"count(*) FILTER ({test})" for test in inside.values())
    valued, example, *found = con.execute(
        f"SELECT count({column}), any_value({column}) FILTER (NOT ({' OR '.join(inside.values())})), {counts} "
        f"FROM {relation}"
    ).fetchall()[0]
    units = [f"{count:,} in {unit}" for unit, count in zip(inside, found, strict=True) if count]
    if not units or sum(found) < (1 - MAX_WRONG) * valued:
        return ""
    other = f", {valued - sum(found):,} in neither, such as {example}" if sum(found) < valued else ""
    return f"its {valued:,} values are not of one unit between 1990 and 2034: {', '.join(units)}{other}"


def _of_number(
    con: duckdb.DuckDBPyConnection, relation: str, column: str, kind: str, low: float, high: float
) -> Time | None:
    if 19_000_101 <= low <= high <= 21_001_231 and kind in INTEGERS:
        found = _parsed(con, relation, f"{column}::VARCHAR", "%Y%m%d")
        return found or Time("order", "")
    if high < ORDER_BELOW:
        return Time("order", "") if kind in INTEGERS and low >= 0 else None
    for unit, limit in LARGEST.items():
        seconds = NS_PER["s"] // NS_PER[unit]
        if high <= limit and low / seconds >= FIRST_S and high / seconds <= LAST_S:
            if kind in FLOATS and unit != "s":
                reason = f"its {column} are epoch {unit} as floats"
                return Time(unit, f"to_timestamp({column} / {seconds})::TIMESTAMP", reason, f"{column}::BIGINT")
            return Time(unit, f"to_timestamp({column} / {seconds})::TIMESTAMP")
    return None


def _of_text(con: duckdb.DuckDBPyConnection, relation: str, name: str) -> Time | None:
    column = quoted(name)
    rows = con.execute(f"SELECT {column} FROM {relation} WHERE {column} IS NOT NULL LIMIT {NUM_TRIED}").fetchall()
    if not all(any(sign.isdigit() for sign in str(row[0])) and len(str(row[0])) <= 40 for row in rows):
        return None
    found = settle(con, relation, [Use(name, "timestamp", "")])[0]
    if isinstance(found, Settled) and found.type in ("DATE", "TIMESTAMP", "TIMESTAMP_NS"):
        return Time("date" if found.type == "DATE" else "datetime", f"({found.sql})::TIMESTAMP")
    if isinstance(found, Settled) and found.type == "BIGINT":
        return _epoch_text(con, relation, column)
    for form in _likely_forms(con, relation, column):
        parsed = _parsed(con, relation, column, form)
        if parsed and form in YEAR_FIRST and (turned := _parsed(con, relation, column, YEAR_FIRST[form])):
            years = [_num_years(con, relation, each) for each in (parsed, turned)]
            if years[0] == years[1]:
                return None
            if years[1] < years[0]:
                return turned
        if parsed and not (form in TWINS and _parsed(con, relation, column, TWINS[form])):
            return parsed
        if parsed:
            return None
    return None


def looks_like_dates(values: Iterable[object]) -> bool:
    """Whether texts look like dates of any form, read or not."""
    texts = [str(value) for value in values]
    return bool(texts) and all(DATE_LIKE.fullmatch(text.strip()) for text in texts)


def _likely_forms(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> list[str]:
    """The forms that fit the first values, so that few are tried on all."""
    forms = [form for form in FORMATS if form not in YEAR_FIRST.values()]
    tries = ", ".join(f"count(try_strptime(x, '{form}'))" for form in forms)
    rows = f"SELECT {column} AS x FROM {relation} WHERE {column} IS NOT NULL LIMIT {NUM_TRIED}"
    total, *found = con.execute(f"SELECT count(*), {tries} FROM ({rows})").fetchall()[0]
    return [form for form, count in zip(forms, found, strict=True) if count == total]


def _epoch_text(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> Time | None:
    """Integers that stand as text, as JSON has large ones."""
    number = f"TRY_CAST({column} AS BIGINT)"
    low, high = con.execute(f"SELECT min({number}), max({number}) FROM {relation}").fetchall()[0]
    found = _of_number(con, relation, number, "BIGINT", float(low), float(high))
    if not found or found.unit == "order":
        return None
    return msgspec.structs.replace(found, reason=f"its {column} are numbers written as text", cast=found.cast or number)


def _num_years(con: duckdb.DuckDBPyConnection, relation: str, time: Time) -> int:
    return int(con.execute(f"SELECT count(DISTINCT year({time.sql})) FROM {relation}").fetchall()[0][0])


def _parsed(con: duckdb.DuckDBPyConnection, relation: str, column: str, form: str) -> Time | None:
    sql = f"try_strptime({column}, '{form}')::TIMESTAMP"
    count, read = con.execute(f"SELECT count({column}), count({sql}) FROM {relation}").fetchall()[0]
    if read < count:
        return None
    is_date = "%H" not in form
    reason = f"its {column} are written as {FORMATS[form]}"
    return Time("date" if is_date else "datetime", sql, reason, f"{sql}::DATE" if is_date else sql)
