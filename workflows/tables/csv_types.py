"""What the columns of CSV files hold, settled over every row; no value is changed by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from workflows.tables.csv_dates import date_sql
from workflows.tables.csv_kinds import kind_sql, test_sql
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Bad", "Role", "Settled", "Use", "settle"]

Role = Literal[
    "any", "id", "code", "number", "amount", "integer", "flag", "label", "timestamp", "comparable", "equal", "text"
]

DATES = ("iso", "day first", "month first", "two dates", "timed", "fine")
FORMS = ("iso", "day first", "month first")
GUESSED = ("plain", "number", "padded", "pointed", "nan", "bool")
CODES = ("exact", "point zero", "nan", "true", "True", "TRUE")
ASKED: dict[Role, Sequence[str]] = {
    "any": GUESSED,
    "comparable": (*GUESSED, *DATES),
    "id": ("exact",),
    "code": CODES,
    "equal": (*CODES, "bool", *DATES),
    "number": ("whole", "number", "nan", "bool"),
    "amount": ("whole", "huge", "number", "nan", "bool"),
    "integer": ("integral",),
    "label": ("whole", "number", "nan", "flag"),
    "flag": ("flag",),
    "timestamp": ("whole", "number", *DATES, "short year"),
    "text": (),
}


class Use(msgspec.Struct, frozen=True):
    """What a column is read for, and the config key that says so.

    "any": whatever it holds. "comparable": the same, but dates are seen as such. "id": int64, or as it is written.
    "code": a number or boolean where it prints as it is written, so that no two texts become one; else as it is
    written. "equal": the same, but dates are seen as such. "text": as it is written. "number", "amount" (a number of
    which no digit is lost), "integer", "timestamp", "flag" (true or false) and "label" (0, 1, true or false) must be
    that in every row.
    """

    column: str
    role: Role
    key: str


class Settled(msgspec.Struct, frozen=True):
    """The DuckDB type that a column gets, and the SQL that makes it from the text."""

    type: str
    sql: str


class Bad(msgspec.Struct, frozen=True):
    """Why a column cannot be used: SQL of a row at fault, what the column must hold, what to do."""

    condition: str
    wanted: str
    remedy: str


class Facts(msgspec.Struct, frozen=True):
    """Of one column: its name as SQL, how many rows are not null, and how many of them pass each test."""

    name: str
    total: int
    passed: dict[str, int]

    def all(self, *tests: str) -> bool:
        """Whether every row passes one of the tests, which exclude each other; the first one somewhere."""
        return self.passed[tests[0]] > 0 and sum(self.passed[test] for test in tests) == self.total

    def cast(self, kind: str) -> Settled:
        """The column as this type."""
        return Settled(kind, f"TRY_CAST({self.name} AS {kind})")

    def bad(self, test: str, wanted: str, remedy: str) -> Bad:
        """The rows that fail the test are at fault."""
        return Bad(f"{self.name} IS NOT NULL AND {test_sql(test, self.name)} IS NOT TRUE", wanted, remedy)


def settle(con: duckdb.DuckDBPyConnection, relation: str, uses: Sequence[Use]) -> list[Settled | Bad]:
    """Find what columns of type VARCHAR hold, in one pass over all rows.

    Where a column's role leaves it open, an integer is what prints as it is written, so that a column with "007" stays
    text; floats have a point somewhere and none begins with + or 0; true and false are booleans; "nan" is a missing
    number. What is asked for as a number may be written in any way ("+7", "007", "1e3").

    Args:
        con: in the zone UTC.
        relation: SQL of the rows.
        uses: the columns, and what for.
    """
    if not uses:
        return []
    names = list(dict.fromkeys(quoted(use.column) for use in uses))
    rows = ", ".join(f"{name} AS c{k}, {kind_sql(name)} AS k{k}" for k, name in enumerate(names))
    selected: list[str] = []
    places: list[int] = []
    for use in uses:
        k = names.index(quoted(use.column))
        places.append(len(selected))
        selected.append(f"count(c{k})")
        selected += [f"count(*) FILTER ({test_sql(test, f'c{k}', f'k{k}')})" for test in ASKED[use.role]]
    row = con.execute(f"SELECT {', '.join(selected)} FROM (SELECT {rows} FROM {relation})").fetchall()[0]
    found = []
    for use, place in zip(uses, places, strict=True):
        counts = dict(zip(ASKED[use.role], map(int, row[place + 1 :]), strict=False))
        found.append(_settled(use.role, Facts(quoted(use.column), int(row[place]), counts)))
    return found


def _settled(role: Role, facts: Facts) -> Settled | Bad:
    if role == "timestamp":
        return _timestamp(facts)
    if role in ("number", "amount", "label"):
        return _number(role, facts)
    if role == "integer":
        if facts.total in (0, facts.passed["integral"]):
            return facts.cast("BIGINT")
        return facts.bad("integral", "integers", "correct these values")
    if role == "flag":
        if facts.total in (0, facts.passed["flag"]):
            return Settled("BOOLEAN", f"TRY_CAST(trim({facts.name}) AS BOOLEAN)")
        return facts.bad("flag", "true or false", "correct these values")
    if role == "id" and facts.all("exact"):
        return facts.cast("BIGINT")
    if role in ("any", "comparable"):
        return _guessed(role, facts)
    if role in ("code", "equal"):
        return _code(role, facts)
    return Settled("VARCHAR", facts.name)


def _code(role: Role, facts: Facts) -> Settled | Bad:
    """The type in which two texts are one value only where they are one text."""
    if facts.all("exact", "nan"):
        return facts.cast("BIGINT")
    if facts.all("point zero", "nan"):
        return facts.cast("DOUBLE")
    if any(facts.all(spelling) for spelling in (("bool",) if role == "equal" else ("true", "True", "TRUE"))):
        return facts.cast("BOOLEAN")
    found = _dates(facts) if role == "equal" else None
    return found or Settled("VARCHAR", facts.name)


def _guessed(role: Role, facts: Facts) -> Settled | Bad:
    if facts.all("plain", "nan"):
        return facts.cast("BIGINT")
    if facts.all("number") and facts.passed["pointed"] and not facts.passed["padded"]:
        return facts.cast("DOUBLE")
    if facts.all("bool"):
        return Settled("BOOLEAN", f"TRY_CAST(trim({facts.name}) AS BOOLEAN)")
    found = _dates(facts) if role == "comparable" else None
    return found or Settled("VARCHAR", facts.name)


def _number(role: Role, facts: Facts) -> Settled | Bad:
    flags = "flag" if role == "label" else "bool"
    if facts.all("whole", "nan"):
        return facts.cast("BIGINT")
    if role == "amount" and facts.all("huge", "nan"):
        return facts.cast("HUGEINT")
    if facts.passed["number"] == facts.total:
        return facts.cast("DOUBLE")
    if facts.all(flags):
        return Settled("BOOLEAN", f"TRY_CAST(trim({facts.name}) AS BOOLEAN)")
    if role == "label":
        return facts.bad("flag", "0, 1 or booleans", "derive a 0/1 column from it")
    if facts.passed["bool"] > facts.passed["number"]:
        return facts.bad("bool", "true or false", "correct these values")
    return facts.bad("number", "numbers", "correct these values, with a point for fractions and nothing for thousands")


def _timestamp(facts: Facts) -> Settled | Bad:
    if facts.all("whole"):
        return facts.cast("BIGINT")
    if facts.all("number"):
        return facts.cast("DOUBLE")
    if not facts.total:
        return facts.cast("TIMESTAMP")
    if found := _dates(facts):
        return found
    if facts.passed["short year"]:
        condition = test_sql("short year", facts.name)
        return Bad(condition, "dates or timestamps with years of four digits", "write them as 2024-01-31 12:00:00")
    likely = max(("number", *FORMS), key=lambda test: facts.passed[test])
    return facts.bad(likely, *_wanted_of_timestamps(facts, likely))


def _wanted_of_timestamps(facts: Facts, likely: str) -> tuple[str, str]:
    """What most rows hold, and what to do with the others: they may be fine alone, but not beside these."""
    others = [form for form in FORMS if form != likely and facts.passed[form]]
    if likely != "number":
        one_form = "write the timestamps of all rows in one form, such as 2024-01-31 12:00:00"
        if facts.passed["whole"]:  # 'infinity' is a number too
            return "dates or timestamps in every row, as most do, not numbers beside them", one_form
        return "dates or timestamps", f"correct or drop these rows; {one_form}"
    if others:
        return (
            "numbers in every row, as most do, not dates or timestamps beside them",
            "write all rows as one of the two",
        )
    if facts.passed["number"]:
        return "numbers, as most rows do", "correct or drop these rows"
    return "dates or timestamps", "correct or drop these rows; write timestamps as 2024-01-31 12:00:00"


def _dates(facts: Facts) -> Settled | Bad | None:
    """Dates or timestamps, all in one form; none where they are not."""
    if facts.all("day first") and facts.all("month first") and facts.passed["two dates"]:
        return Bad(test_sql("two dates", facts.name), "dates whose day and month are plain", "write them as 2024-01-31")
    for form in FORMS:
        if facts.all(form):
            timed, fine = facts.passed["timed"] > 0, facts.passed["fine"] > 0
            kind, sql = date_sql(form, timed=timed, fine=fine)
            return Settled(kind, sql.format(facts.name))
    return None
