"""What one text of a CSV file is: its kind, and whether it passes a test."""

from __future__ import annotations

from typing import Literal

import msgspec

from workflows.tables.csv_dates import DAY_FIRST, FINE, ISO, LIKE_A_DATE, MONTH_FIRST, NUMERIC_DATE, SHORT_YEAR

__all__ = ["kind_sql", "test_sql"]

Kind = Literal["exact", "number", "date", "turned", "word"]

KINDS: dict[Kind, str] = {
    "exact": "TRY_CAST({0} AS BIGINT)::VARCHAR = {0}",  # an integer as it is printed, which most texts are
    "number": (
        r"regexp_full_match({0}, '(?i) *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)? *| *[+-]?(nan|inf|infinity) *')"
    ),
    "turned": NUMERIC_DATE,
    "date": LIKE_A_DATE,
}
"""The kinds of a text, the first one that holds; a "word" is none of these. Cheap tests that spare the dear ones."""


class Test(msgspec.Struct, frozen=True):
    """Whether texts of some kinds pass, as SQL; {0} is the column. Other kinds fail."""

    kinds: tuple[Kind, ...]
    sql: str = "true"
    always: tuple[Kind, ...] = ()


NUMBERS: tuple[Kind, ...] = ("number",)
TESTS = {
    "exact": Test((), always=("exact",)),
    "plain": Test(NUMBERS, "TRY_CAST({0} AS BIGINT)::VARCHAR = trim({0})", ("exact",)),
    "whole": Test(
        NUMBERS, "regexp_full_match({0}, ' *[+-]?[0-9]+ *') AND TRY_CAST({0} AS BIGINT) IS NOT NULL", ("exact",)
    ),
    "huge": Test(
        NUMBERS, "regexp_full_match({0}, ' *[+-]?[0-9]+ *') AND TRY_CAST({0} AS HUGEINT) IS NOT NULL", ("exact",)
    ),
    "point zero": Test(  # as pandas writes integers beside nulls; -0.0 is not the code 0
        NUMBERS,
        "TRY_CAST({0} AS BIGINT)::VARCHAR || '.0' = {0} AND abs(TRY_CAST({0} AS DOUBLE)) < 9007199254740992",
    ),
    "integral": Test(NUMBERS, "TRY_CAST({0} AS DOUBLE) = TRY_CAST({0} AS BIGINT)::DOUBLE", ("exact",)),
    "number": Test(NUMBERS, "isfinite(TRY_CAST({0} AS DOUBLE)) OR regexp_matches({0}, '[nN]')", ("exact",)),  # no 1e400
    "padded": Test(NUMBERS, "regexp_matches({0}, '^ *([+]|-?0[0-9])')"),  # +7 and 007 may be codes, not 7
    "pointed": Test(NUMBERS, "contains({0}, '.')"),
    "nan": Test(NUMBERS, "lower(trim({0})) = 'nan'"),
    "bool": Test(("word",), "{0} IN ('true', 'false', 'True', 'False', 'TRUE', 'FALSE')"),
    "true": Test(("word",), "{0} IN ('true', 'false')"),
    "True": Test(("word",), "{0} IN ('True', 'False')"),
    "TRUE": Test(("word",), "{0} IN ('TRUE', 'FALSE')"),
    "flag": Test(("exact", "number", "word"), "TRY_CAST(trim({0}) AS BOOLEAN) IS NOT NULL"),  # true, t, yes, 1, ...
    "iso": Test(("date",), f"{ISO} IS NOT NULL"),
    "day first": Test(("turned",), f"{DAY_FIRST} IS NOT NULL"),
    "month first": Test(("turned",), f"{MONTH_FIRST} IS NOT NULL"),
    "two dates": Test(("turned",), f"{DAY_FIRST} <> {MONTH_FIRST}"),
    "timed": Test(("date",), "contains({0}, ':')"),
    "fine": Test(("date", "turned"), FINE),
    "short year": Test(("word",), SHORT_YEAR),
}


def kind_sql(column: str) -> str:
    """The place of a text's kind in KINDS, len(KINDS) for a word; null for null."""
    cases = " ".join(f"WHEN {test.format(column)} THEN {place}" for place, test in enumerate(KINDS.values()))
    return f"(CASE WHEN NOT regexp_matches({column}, '^[ 0-9+.iInN-]') THEN {len(KINDS)} {cases} ELSE {len(KINDS)} END)"


def test_sql(test: str, column: str, kind: str = "") -> str:
    """Whether a text passes a test of TESTS.

    Args:
        test: its name.
        column: SQL of the text.
        kind: SQL of the text's kind, where it is known.
    """
    matching, places = TESTS[test], {name: place for place, name in enumerate((*KINDS, "word"))}
    cases = [f"WHEN {places[name]} THEN true" for name in matching.always]
    cases += [f"WHEN {places[name]} THEN {matching.sql.format(column)}" for name in matching.kinds]
    return f"(CASE {kind or kind_sql(column)} {' '.join(cases)} ELSE false END)"
