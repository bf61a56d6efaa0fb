"""Whether events are rows of several kinds, such as views and purchases, or displays with what became of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from workflows.tables.check import OWN_COLUMNS, columns_of
from workflows.tables.config import DataConfig
from workflows.tables.labels import Condition, label_conditions
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Kinds", "are_kinds", "find_kinds", "is_shown", "kinds_sql"]

# The letters of a kind that says that an item was shown, and no more: who shows details or displays a cart has reacted.
SHOWS = (
    "impression|shown|displayed|exposure|viewitemlist|viewsearchresults|"
    "(show|display)(s|ing)?((an?|the)?(item|product|article|ad|content)s?)?$"
)
FLAGS = ("0", "1", "true", "false", "yes", "no", "y", "n", "t", "f", "")
# The columns of `raw_events` that say whether a row is of such a kind, and whether its code is more than a flag.
DISPLAYED, CODED = OWN_COLUMNS[-2:]
# Kinds taken for displays cost nearly all of a chain's recall, displays taken for kinds a little: a fifth is enough.
MIN_OVERLAP = 0.2
MIN_PAIRS = 10
SAMPLE_ROWS = 2_000_000


class Kinds(msgspec.Struct, frozen=True):
    """What the column of the first label holds.

    Attributes:
        displays: kinds that say that an item was shown, and no more.
        codes: numbers beside -1, 0 and 1, so that none of these is a flag.
    """

    displays: bool = False
    codes: bool = False


def kinds_sql(conditions: Mapping[str, Condition], columns: Mapping[str, str]) -> dict[str, str]:
    """What is asked of the column of the first label in each row, for `find_kinds`.

    Args:
        conditions: of the labels.
        columns: label -> SQL of its column.

    Returns:
        Column of `raw_events` -> SQL of a boolean.
    """
    asked = {}
    if displayed := _displayed_sql(conditions, columns):
        asked[DISPLAYED] = displayed
    first = next(iter(conditions), "")
    if first and _is_code_or_flag(conditions[first]):
        asked[CODED] = f"coalesce(TRY_CAST(({columns[first]}) AS DOUBLE) NOT IN (-1, 0, 1), false)"
    return asked


def find_kinds(con: duckdb.DuckDBPyConnection) -> Kinds:
    """Look at what `kinds_sql` made of the rows of `raw_events`."""
    present = columns_of(con, "raw_events")
    asked = [f"bool_or({name})" if name in present else "false" for name in (DISPLAYED, CODED)]
    displays, codes = con.execute(f"SELECT {', '.join(asked)} FROM raw_events").fetchall()[0]
    return Kinds(bool(displays), bool(codes))


def _displayed_sql(conditions: Mapping[str, Condition], columns: Mapping[str, str]) -> str:
    """SQL of whether a row only says that an item was shown, by its words; "" without a text that is compared."""
    texts = {columns[label] for label, found in _of_first(conditions).items() if isinstance(found.value, str)}
    # Of 'view_item_list' and 'View item list' the letters count.
    tests = [
        f"regexp_matches(regexp_replace(lower(({sql})::VARCHAR), '[^a-z]', '', 'g'), '{SHOWS}')"
        for sql in sorted(texts)
    ]
    return f"coalesce({' OR '.join(tests)}, false)" if tests else ""


def is_shown(kind: str) -> bool:
    """Whether a kind of events says that an item was shown, and no more."""
    return bool(re.search(SHOWS, re.sub("[^a-z]", "", kind.lower())))


def are_kinds(con: duckdb.DuckDBPyConnection, data: DataConfig, found: Kinds) -> bool:
    """Whether the first label says of what kind a row of `placed` is, so that one without it was not shown in vain.

    It does where two things hold. The label is one of the kinds of a column (`event == 'purchase'`, `behaviour == 4`;
    `behaviour == 1` where the column has 4 as well), which another label may name, or each row has exactly one of
    several label columns, as those of an event log do. What other columns hold, such as the device, does not matter.
    And the kinds follow each other: of the pairs of a user and an item with the rarer outcome of the label, at least a
    fifth have the other as well, since who buys an item has mostly looked at it. Ratings have one row a pair; displays
    have flags, and mostly a position.

    Args:
        con: with the table `placed`.
        data: what the columns mean; a position or a propensity says that rows are displays.
        found: in the label's column; displays among its kinds are what was shown in vain.
    """
    if not data.labels or data.position or data.propensity or found.displays:
        return False
    if not (_of_first(label_conditions(data)) or found.codes or _has_one_each(con, data)):
        return False
    return _overlap(con) >= MIN_OVERLAP


def _of_first(conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    """The conditions that name a kind, of those on the column of the first one."""
    column = next((condition.column for condition in conditions.values()), "")
    return {label: found for label, found in conditions.items() if found.column == column and _is_kind(found)}


def _is_code_or_flag(condition: Condition) -> bool:
    """Whether it is `== 0`, `== 1` or the like: other numbers in the column tell which."""
    value = condition.value
    return condition.op in ("==", "!=") and not isinstance(value, bool | str) and value in (0, 1)


def _is_kind(condition: Condition) -> bool:
    """Whether it names one of several kinds; 0 and 1, or yes and no, are what became of a row."""
    if condition.op not in ("==", "!=") or isinstance(condition.value, bool | float):
        return False
    if isinstance(condition.value, str):
        return condition.value.strip().lower() not in FLAGS
    return abs(condition.value) > 1


def _has_one_each(con: duckdb.DuckDBPyConnection, data: DataConfig) -> bool:
    """Whether every row has exactly one of several labels; a purchase among displays is a click as well."""
    if len(data.labels) < 2 or label_conditions(data):
        return False
    total = " + ".join(quoted(f"label_{k}") for k in range(len(data.labels)))
    return not con.execute(f"SELECT count(*) FROM placed WHERE {total} <> 1").fetchall()[0][0]


def _overlap(con: duckdb.DuckDBPyConnection) -> float:
    """Of the pairs with the rarer outcome of the first label, the share that have the other; of a sample of them."""
    total = con.execute("SELECT count(*) FROM placed").fetchall()[0][0]
    every = max(1, total // SAMPLE_ROWS)
    both, positive, negative = con.execute(
        "WITH pairs AS (SELECT bool_or(positive) AS p, bool_or(NOT positive) AS n FROM placed "
        f"WHERE hash(user_id, item_id) % {every} = 0 GROUP BY user_id, item_id) "
        "SELECT count(*) FILTER (p AND n), count(*) FILTER (p), count(*) FILTER (n) FROM pairs"
    ).fetchall()[0]
    rarer = min(positive, negative)
    return float(both / rarer) if rarer >= MIN_PAIRS else 0.0
