"""The table that says more of the events' items, or of their users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from workflows.init.profile import Column, Table
from workflows.init.words import plain_name, rank, words_of
from workflows.tables.check import FLOATS
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["MIN_SHARE", "Entity", "best_entity", "id_sql", "why_unused"]

MAX_IDS = 50_000
MIN_SHARE = 0.05  # of the events' ids; tables that have fewer in common do not belong together
SURE_SHARE = 0.5  # of the events' ids, for a column that has another name to be taken for them
MIN_IDS = 20  # of the events, from which their values tell that
MOSTLY_DISTINCT = 0.9  # of a table that has no usual name; a few rows may come twice
MIN_DISTINCT = 0.2  # ids to a row: where they are fewer, the rows are no descriptions of items or users
PLAIN = "ltrim(regexp_replace(trim({}), '[.]0$', ''), '0')"  # of two spellings of one number
PROPERTY, VALUE = ("property", "attribute", "propertyname", "attributename", "key"), ("value", "propertyvalue")
LINKS = ("friend", "friends", "links", "link", "tags", "tag", "tree", "network", "trust")
IDS = ("id", "key", "code", "number", "no", "nr", "ref", "reference", "name")


class Entity(msgspec.Struct):
    """A table with what is known of items or users.

    Attributes:
        table: its rows.
        key: its column that the events' ids are in.
        share: of the events' distinct ids, those that are there.
        property: where each row holds one property of an item: the columns with its name and its value.
    """

    table: Table
    key: str
    share: float
    property: tuple[str, str] | None = None


def best_entity(
    con: duckdb.DuckDBPyConnection,
    events: Table,
    column: str,
    tables: Sequence[Table],
    known: Sequence[str],
    usual: Sequence[str],
) -> Entity | None:
    """The table whose ids are those of a column of the events; one that shares none where only its name fits.

    Args:
        con: the connection.
        events: the events.
        column: their ids.
        tables: the other tables.
        known: what such ids are called.
        usual: words of what such tables are called.
    """
    found = []
    for table in tables:
        words = set(words_of(table.name))
        is_usual = bool(words & set(usual))
        if words & set(LINKS):
            continue
        for name, one in table.columns.items():
            is_same = plain_name(name) == plain_name(column)
            is_named = is_same or (is_usual and _may_be_id(name, known))
            if one.is_list or not (is_named or _may_hold_ids(table, one, events.columns[column])):
                continue
            share = _share(con, events, column, table, name)
            names = _property(table)
            is_key = table.is_key(name)
            least = MIN_DISTINCT if is_usual else MOSTLY_DISTINCT
            if not (is_key or names or one.distinct >= least * table.num_looked):
                continue
            if not is_named and share < SURE_SHARE:
                continue
            weight = (share >= MIN_SHARE, is_same, is_named, is_usual, is_key, len(table.columns), share)
            found.append((weight, Entity(table, name, share, None if is_key else names)))
    return max(found, key=lambda one: one[0])[1] if found else None


def why_unused(con: duckdb.DuckDBPyConnection, events: Table, ids: Sequence[str], table: Table) -> str:
    """Why a table is neither that of the items nor that of the users, in some words.

    Args:
        con: the connection.
        events: the events.
        ids: their columns of users and items.
        table: the other table.
    """
    near = [(_share(con, events, one, table, name), one, name) for one in ids for name in _same(events, one, table)]
    share, one, name = max(near, default=(0.0, "", ""))
    if share < MIN_SHARE:
        alike = [
            (_share(con, events, one, table, name, but_for=PLAIN), one, name)
            for one in ids
            for name, column in table.columns.items()
            if table.is_key(name) and (column.is_text or column.is_number)
        ]
        share, one, name = max(alike, default=(0.0, "", ""))
        if share >= SURE_SHARE:
            return f"'{name}' differs from '{one}' in leading zeros, blanks or '.0' alone: write the ids alike"
        return f"no column of it holds the ids of {' or '.join(map(repr, ids))}"
    held = f"'{name}' holds {share:.0%} of the ids of '{one}'"
    if table.columns[name].distinct < MOSTLY_DISTINCT * (table.num_looked - table.columns[name].nulls):
        return f"{held}, in several rows each"
    return f"{held}, and another table was taken"


def _same(events: Table, column: str, table: Table) -> list[str]:
    """The columns of a table that may hold the ids of a column of the events."""
    kind = _kind(events.columns[column])
    return [name for name, one in table.columns.items() if not one.is_list and one.distinct and _kind(one) == kind]


def _kind(column: Column) -> str:
    return "text" if column.is_text else "number" if column.is_number else column.type


def _may_hold_ids(table: Table, column: Column, ids: Column) -> bool:
    """Whether a column of any name may be the ids: texts, whose values tell. Small integers are alike anywhere."""
    is_text = column.is_text and ids.is_text
    return is_text and column.distinct >= MOSTLY_DISTINCT * table.num_looked and ids.distinct >= MIN_IDS


def id_sql(name: str, column: Column) -> str:
    """An id as text; whole floats, which pandas makes of integers beside nulls, as integers."""
    return f"{quoted(name)}::BIGINT::VARCHAR" if column.type in FLOATS else f"{quoted(name)}::VARCHAR"


def _may_be_id(name: str, known: Sequence[str]) -> bool:
    return plain_name(name) in IDS or rank(name, known) is not None


def _property(table: Table) -> tuple[str, str] | None:
    named = next((name for name in table.columns if plain_name(name) in PROPERTY), "")
    value = next((name for name in table.columns if plain_name(name) in VALUE), "")
    return (named, value) if named and value else None


def _share(
    con: duckdb.DuckDBPyConnection, events: Table, column: str, table: Table, name: str, but_for: str = "{}"
) -> float:
    wanted, held = (but_for.format(id_sql(one, of.columns[one])) for one, of in ((column, events), (name, table)))
    ids = (
        f"SELECT DISTINCT {wanted} AS id FROM {events.looked} WHERE {quoted(column)} IS NOT NULL "
        f"ORDER BY hash(id) LIMIT {MAX_IDS}"
    )
    there = table.looked if table.is_whole else table.sql
    found = con.execute(f"SELECT avg((id IN (SELECT {held} FROM {there}))::INTEGER) FROM ({ids})").fetchall()[0][0]
    return min(1.0, float(found or 0.0) / table.held)
