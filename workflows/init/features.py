"""How each column of items and users becomes a feature, and which columns do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workflows.init.profile import Column, Table
from workflows.init.words import CONTEXT, PRICE, PRIVATE, TOTALS, has_word, plain_name, words_of
from workflows.tables.check import INTEGERS
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Feature", "context_of", "feature_of"]

SEPARATORS = ("|", ";", ",")
CODES = ("id", "code", "no", "number", "type", "zip", "zipcode", "postcode", "category", "group", "class", "genre")
MANY = 50_000
FEW = 12
LONG = 60
MAX_CONTEXT = 1_000
MOSTLY = 0.95
OWN = 0.7  # values to a row, from which a value says little more than the id


class Feature(msgspec.Struct, frozen=True):
    """What becomes of a column: its spec as TOML, or "" with the reason why none; a doubt, and the spec if it is so."""

    toml: str
    why: str
    doubt: str = ""
    otherwise: str = ""


def feature_of(con: duckdb.DuckDBPyConnection, table: Table, name: str, *, of_users: bool) -> Feature:
    """The kind of a feature, by what the column holds.

    Args:
        con: the connection.
        table: of items or users.
        name: of the column.
        of_users: what tells who a person is is left out then.
    """
    column = table.columns[name]
    if not column.distinct or column.nulls > MOSTLY * table.num_looked:
        return Feature("", "nearly always empty" if column.distinct else "empty")
    if column.distinct == 1 and column.nulls < (1 - MOSTLY) * table.num_looked:
        return Feature("", "one value in all rows")
    if of_users and has_word(name, PRIVATE):
        return Feature("", "tells who somebody is, which no model needs")
    if column.time and column.time.unit != "order":
        return Feature("", "an instant; no kind of feature reads one")
    if column.is_list:
        return Feature('{ kind = "list" }', "lists")
    if column.type == "BOOLEAN":
        return Feature('{ kind = "categorical" }', "true or false")
    if column.is_number:
        return _of_number(con, table, column)
    return _of_text(con, table, column) if column.is_text else Feature("", "of a type that no kind reads")


def context_of(table: Table, name: str) -> Feature | None:
    """How a column of the events is context: what a request knows too, as its name says. None where it is none."""
    column = table.columns[name]
    if column.is_list or not 2 <= column.distinct <= MAX_CONTEXT or not has_word(name, CONTEXT):
        return None
    if not column.is_text and column.type not in INTEGERS:
        return None
    return Feature('{ kind = "categorical" }', f"{column.distinct:,} values")


def _of_number(con: duckdb.DuckDBPyConnection, table: Table, column: Column) -> Feature:
    if plain_name(column.name) in TOTALS:
        doubt = f"'{column.name}' looks like a sum over all time, so of what is held out too: is it known beforehand?"
        numbers = '{ kind = "continuous", log = true }' if column.type in INTEGERS else '{ kind = "continuous" }'
        return Feature("", "looks like a sum over all time, which knows what is held out", doubt, numbers)
    is_code = bool(set(words_of(column.name)[-1:]) & set(CODES))
    is_amount = has_word(column.name, PRICE)
    if column.type in INTEGERS and not is_amount and (is_code or column.distinct <= FEW):
        return _of_codes(table, column, "codes" if is_code else "few values")
    if column.type not in INTEGERS and (is_code or column.distinct == 1):
        is_whole = all(float(str(value)).is_integer() for value, _ in column.top)
        return _of_codes(table, column, "codes") if is_whole else Feature("", "codes written as fractions")
    low, middle, high = con.execute(
        f"SELECT min(x), median(x), max(x) FROM (SELECT {quoted(column.name)}::DOUBLE AS x FROM {table.looked}) "
        "WHERE isfinite(x)"
    ).fetchall()[0]
    if low is None:
        return Feature("", "no finite number")
    if low >= 0 and high >= 20 * max(middle, 1):
        return Feature('{ kind = "continuous", log = true }', f"numbers, most far below the largest, {high:g}")
    return Feature('{ kind = "continuous" }', f"numbers from {low:g} to {high:g}")


def _of_text(con: duckdb.DuckDBPyConnection, table: Table, column: Column) -> Feature:
    first = str(column.top[0][0])
    if first.startswith(("http://", "https://")):
        return Feature("", "links")
    if all(str(value)[:1] in "$€£" for value, _ in column.top):
        return Feature("", "prices with a currency, so text: write plain numbers, and it can be a feature")
    for separator in SEPARATORS:
        if _is_list(con, table, column, separator):
            return Feature(f'{{ kind = "list", separator = "{separator}" }}', f"several values, parted by {separator}")
    if column.length > LONG and any(" " in str(value) for value, _ in column.top):
        return Feature("", "long text")
    return _of_codes(table, column, "text")


def _of_codes(table: Table, column: Column, what: str) -> Feature:
    if column.distinct > OWN * (table.num_looked - column.nulls) and table.num_looked > 2 * FEW:
        return Feature("", f"{what}, hardly a value of which comes twice")
    if column.distinct > MANY:
        return Feature('{ kind = "hashed" }', f"{what}, too many values for a vocabulary")
    return Feature('{ kind = "categorical" }', what)


def _is_list(con: duckdb.DuckDBPyConnection, table: Table, column: Column, separator: str) -> bool:
    """Whether a text holds several values, most of which come again elsewhere."""
    name = quoted(column.name)
    texts = f"SELECT {name} AS x FROM {table.looked} WHERE {name} IS NOT NULL LIMIT 100000"
    parts = (
        f"SELECT trim(unnest(string_split(x, '{separator}'))) AS part, contains(x, '{separator}') AS has FROM ({texts})"
    )
    num, distinct, several, length = con.execute(
        f"SELECT count(*), count(DISTINCT part), count(*) FILTER (has), avg(length(part)) FROM ({parts})"
    ).fetchall()[0]
    are_alike = distinct <= (0.3 if separator == "," else 0.5) * num
    return bool(several >= 0.3 * num and are_alike and length <= 25)
