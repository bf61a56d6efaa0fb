"""Dates and timestamps in the text of CSV files: ISO 8601 with or without a zone, day/month/year, month/day/year."""

from __future__ import annotations

__all__ = ["DAY_FIRST", "FINE", "ISO", "LIKE_A_DATE", "MONTH_FIRST", "NUMERIC_DATE", "SHORT_YEAR", "date_sql"]

LIKE_A_DATE = "regexp_matches({0}, '^ *[0-9]{{4}}[-/.][0-9]')"  # 'infinity' and 'epoch' are no timestamps
# DuckDB would read 24-01-01 as a day of the year 24.
SHORT_YEAR = "regexp_matches({0}, '^ *[0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,2}}([^0-9]|$)')"
NUMERIC_DATE = "regexp_matches({0}, '^ *[0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.][0-9]{{4}}([^0-9]|$)')"
FINE = "regexp_matches({0}, '[.][0-9]{{7}}')"


def _nanoseconds(text: str) -> str:
    return f"TRY_CAST({text} AS TIMESTAMP_NS)"  # unlike a cast to TIMESTAMP, it heeds an offset such as +05:30


def _zoned(text: str) -> str:
    return f"TRY_CAST({text} AS TIMESTAMPTZ)"  # names of zones too, and years that nanoseconds cannot hold


def _timestamp(text: str) -> str:
    zone = rf"regexp_replace({text}, '(:[0-9.]+) ?([-+][0-9][0-9]):?([0-9][0-9])$', '\1\2:\3')"  # 10:00:00 -0500
    full = rf"regexp_replace({text}, '([0-9]:[0-9][0-9])([-+Z])', '\1:00\2')"  # 10:00+01 lacks seconds
    # The names of zones come last: what is none costs milliseconds a row.
    found = [f"TRY_CAST({_nanoseconds(each)} AS TIMESTAMP)" for each in (text, zone, full)]
    return f"coalesce({', '.join(found)}, TRY_CAST({_zoned(text)} AS TIMESTAMP))"


def _year_first(separators: str, order: str) -> str:
    parts = f"'^([0-9]{{{{1,2}}}})[{separators}]([0-9]{{{{1,2}}}})[{separators}]([0-9]{{{{4}}}})'"
    return f"regexp_replace(trim({{0}}), {parts}, '{order}')"


def _turned(separators: str, order: str) -> str:
    """The timestamp of a date whose year comes last, with a time of 24 or 12 hours."""
    text = _year_first(separators, order)
    halves = f"try_strptime({text}, ['%Y-%m-%d %I:%M %p', '%Y-%m-%d %I:%M:%S %p'])"
    return f"(CASE WHEN regexp_matches({{0}}, '[apAP][mM] *$') THEN {halves} ELSE {_timestamp(text)} END)"


ISO = _timestamp("trim({0})")
DAYS = "-/.", r"\3-\2-\1"
MONTHS = "-/", r"\3-\1-\2"
DAY_FIRST, MONTH_FIRST = _turned(*DAYS), _turned(*MONTHS)  # where points are written, the day comes first
"""SQL of a timestamp (TIMESTAMP) from a column {0} of type VARCHAR, null where the text is none."""


def date_sql(form: str, *, timed: bool, fine: bool) -> tuple[str, str]:
    """DuckDB type and SQL ({0} is the column) of a column of which every row is in one form.

    Without a zone a timestamp is UTC, the zone that the connection must be in.

    Args:
        form: "iso", "day first" or "month first".
        timed: some rows hold a time of day.
        fine: some rows hold nanoseconds.
    """
    if form == "iso" and not timed:
        return "DATE", "TRY_CAST(trim({0}) AS DATE)"
    text, timestamp = {
        "iso": ("trim({0})", ISO),
        "day first": (_year_first(*DAYS), DAY_FIRST),
        "month first": (_year_first(*MONTHS), MONTH_FIRST),
    }[form]
    if fine:
        return "TIMESTAMP_NS", f"coalesce({_nanoseconds(text)}, TRY_CAST({timestamp} AS TIMESTAMP_NS))"
    return "TIMESTAMP", timestamp
