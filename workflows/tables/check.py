"""Checks of the raw tables; every failure is one sentence with the column, the count and an example row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from workflows.core.errors import DataError
from workflows.tables.places import place_in
from workflows.tables.source import Source, quoted

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "FLOATS",
    "INTEGERS",
    "OWN_COLUMNS",
    "IdType",
    "Shape",
    "bad_rows",
    "check_columns",
    "check_ids",
    "check_known",
    "check_labels",
    "check_no_nulls",
    "check_not_empty",
    "check_not_padding",
    "check_position",
    "check_propensity",
    "check_split_values",
    "check_stock",
    "check_unique",
    "columns_of",
    "example",
    "id_type",
    "shown",
]

Shape = dict[str, str]  # column name -> DuckDB type
IdType = Literal["int64", "string"]

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
FLOATS = {"FLOAT", "DOUBLE"}
MAX_ID_BYTES = 255
MAX_SHOWN = 80
# Columns of raw tables that come from here: the row's number, its given split, and what kinds.py asks of it.
OWN_COLUMNS = ("__n", "__given", "__displayed", "__coded")


def columns_of(con: duckdb.DuckDBPyConnection, relation: str) -> Shape:
    """Names and DuckDB types of a relation's columns, in order."""
    return {str(row[0]): str(row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def check_columns(table: str, shape: Shape, needed: Iterable[tuple[str, str]], source: Source | None = None) -> None:
    """Refuse a table that lacks a column.

    Args:
        table: name for the message.
        shape: the table's columns.
        needed: (column, config key that names it).
        source: its files, where they are known.

    Raises:
        DataError: names the first missing column and the columns there are.
    """
    for column, key in needed:
        if column not in shape:
            near = [name for name in shape if name.lower() == column.lower()]
            remedy = f"correct {key}"
            if near:
                remedy += f" ('{near[0]}' is there; in a table that has both, rename one)"
            elif len(shape) == 1 and source and source.format == "CSV":
                remedy += f", or write {source.files[0]} with a delimiter that is read: comma, semicolon, tab or |"
            elif any(name.isdigit() for name in shape):
                remedy = "give the file a first line with the names of its columns"
            raise DataError(
                f"{table}: expected a column '{column}' ({key}), got the columns {', '.join(shape)}; {remedy}"
            )


def id_type(table: str, column: str, shape: Shape) -> IdType:
    """Whether an id column is integer or string.

    Raises:
        DataError: it is neither.
    """
    found = shape[column]
    if found in INTEGERS:
        return "int64"
    if found == "VARCHAR" or found.startswith("ENUM"):
        return "string"
    raise DataError(
        f"{table}: id column '{column}' must be integer or string, got {found.lower()}; cast it in the file"
    )


def check_not_empty(con: duckdb.DuckDBPyConnection, table: str, relation: str, source: Source) -> None:
    """Refuse a table without rows."""
    if not con.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall():
        raise DataError(f"{table}: expected at least one row, got none in {', '.join(source.files[:3])}")


def check_no_nulls(con: duckdb.DuckDBPyConnection, table: str, relation: str, column: str) -> None:
    """Refuse nulls in a column."""
    bad = bad_rows(con, relation, f"{quoted(column)} IS NULL")
    if bad:
        raise DataError(f"{table}: column '{column}' must hold no nulls, got {bad}; drop or fill these rows")


def check_ids(con: duckdb.DuckDBPyConnection, table: str, relation: str, column: str, kind: IdType) -> None:
    """Refuse nulls, and strings that cannot travel in a request: over 255 bytes of UTF-8, empty, or with a NUL byte.

    Raises:
        DataError: names the column, the count and an example row.
    """
    check_no_nulls(con, table, relation, column)
    name = quoted(column)
    if kind == "int64":
        if bad := bad_rows(con, relation, f"TRY_CAST({name} AS BIGINT) IS NULL"):
            raise DataError(f"{table}: id column '{column}' must fit in int64, got {bad}; use strings")
        return
    for condition, wanted in (
        (f"contains({name}, chr(0))", "no NUL bytes"),
        (f"strlen({name}) > {MAX_ID_BYTES}", f"at most {MAX_ID_BYTES} bytes of UTF-8"),
        (f"strlen({name}) = 0", "no empty strings"),
    ):
        if bad := bad_rows(con, relation, condition):
            raise DataError(f"{table}: id column '{column}' must hold {wanted}, got {bad}; rename these ids")


def check_not_padding(con: duckdb.DuckDBPyConnection, table: str, relation: str, column: str) -> None:
    """Refuse -1 among integer item ids: requests and slates pad lists of items with it."""
    if bad := bad_rows(con, relation, f"{quoted(column)} = -1"):
        raise DataError(
            f"{table}: item id column '{column}' must not hold -1, which fills up short lists of items in requests and "
            f"slates, got {bad}; set data.item_id_type = 'string', or give this item another id"
        )


def check_unique(con: duckdb.DuckDBPyConnection, table: str, relation: str, column: str) -> None:
    """Refuse an id that stands in more than one row."""
    name = quoted(column)
    repeats = f"SELECT {name} FROM {relation} GROUP BY 1 HAVING count(*) > 1"
    if bad := bad_rows(con, relation, f"{name} IN ({repeats})"):
        raise DataError(
            f"{table}: column '{column}' must hold each id once, got duplicate ids: {bad}; keep one row an id"
        )


def check_labels(con: duckdb.DuckDBPyConnection, relation: str, shape: Shape, labels: Sequence[str]) -> None:
    """Refuse labels other than 0, 1 and booleans."""
    for label in labels:
        found = shape[label]
        if found == "BOOLEAN":
            check_no_nulls(con, "events", relation, label)
            continue
        if found not in INTEGERS | FLOATS:
            raise DataError(f"events: label column '{label}' must hold 0, 1 or booleans, got {found.lower()}")
        if bad := bad_rows(con, relation, f"{quoted(label)} IS NULL OR {quoted(label)} NOT IN (0, 1)"):
            raise DataError(
                f"events: label column '{label}' must hold 0, 1 or booleans, got {bad}; derive a 0/1 column from it"
            )


def check_position(con: duckdb.DuckDBPyConnection, relation: str, shape: Shape, column: str) -> None:
    """Refuse a position that is not an integer, or missing, or beyond int32."""
    if shape[column] not in INTEGERS:
        raise DataError(f"events: position column '{column}' must be integer, got {shape[column].lower()}")
    check_no_nulls(con, "events", relation, column)
    if bad := bad_rows(con, relation, f"{quoted(column)} NOT BETWEEN -2147483648 AND 2147483647"):
        raise DataError(f"events: position column '{column}' must fit in int32, got {bad}; number positions from 1")


def check_propensity(con: duckdb.DuckDBPyConnection, relation: str, shape: Shape, column: str) -> None:
    """Refuse propensities that are no probabilities; null, NaN and 0 say that a policy chose."""
    found, name = shape[column], quoted(column)
    if found not in INTEGERS | FLOATS | {"BOOLEAN"} and not found.startswith("DECIMAL"):
        raise DataError(
            f"events: propensity column '{column}' must hold probabilities, got {found.lower()}; give the probability "
            "with which chance showed the item, null where a policy chose it"
        )
    if bad := bad_rows(con, relation, f"NOT isnan({name}::DOUBLE) AND NOT {name}::DOUBLE BETWEEN 0 AND 1"):
        raise DataError(
            f"events: propensity column '{column}' must hold probabilities from 0 to 1, got {bad}; give the "
            "probability with which chance showed the item, null where a policy chose it"
        )


def check_stock(items: Shape, column: str) -> None:
    """Refuse a stock column that is missing or not boolean."""
    if not items:
        raise DataError(f"items: expected a table with the column '{column}' (data.stock), got none; set data.items")
    check_columns("items", items, [(column, "data.stock")])
    if items[column] != "BOOLEAN":
        raise DataError(f"items: stock column '{column}' must be boolean, got {items[column].lower()}; cast it")


def check_known(con: duckdb.DuckDBPyConnection, relation: str, column: str, unknown: str, remedy: str = "") -> None:
    """Refuse events whose item the items table lacks.

    Args:
        con: the connection.
        relation: the events.
        column: the item id column.
        unknown: SQL condition that such events meet.
        remedy: what to do, where more is known than that they are not there.
    """
    if bad := bad_rows(con, relation, unknown):
        remedy = remedy or "add these items or set data.unknown_items = 'drop'"
        raise DataError(
            f"events: column '{column}' must name items of the items table, got unknown items in {bad}; {remedy}"
        )


def check_split_values(con: duckdb.DuckDBPyConnection, relation: str, column: str, allowed: Sequence[str]) -> None:
    """Refuse a split column with another value than train, valid and test."""
    values = ", ".join(f"'{value}'" for value in allowed)
    name = f"{quoted(column)}::VARCHAR"
    if bad := bad_rows(con, relation, f"{name} IS NULL OR {name} NOT IN ({values})"):
        raise DataError(
            f"events: split column '{column}' must hold {', '.join(allowed)}, got {bad}; rename these values"
        )


def bad_rows(con: duckdb.DuckDBPyConnection, relation: str, condition: str) -> str:
    """'7 rows, for example row 3: a = 1, b = NULL', or '' when no row meets the condition."""
    count = con.execute(f"SELECT count(*) FROM {relation} WHERE {condition}").fetchall()[0][0]
    return (
        f"{count:,} {'row' if count == 1 else 'rows'}, for example {example(con, relation, condition)}" if count else ""
    )


def example(con: duckdb.DuckDBPyConnection, relation: str, condition: str) -> str:
    """The first row that meets the condition, its number counted from 0 in its file."""
    cursor = con.execute(f"SELECT * FROM {relation} WHERE {condition} ORDER BY __n LIMIT 1")
    names = [str(column[0]) for column in cursor.description or []]
    values = dict(zip(names, cursor.fetchall()[0], strict=True))
    number = values["__n"]
    values = {name: value for name, value in values.items() if name not in OWN_COLUMNS}
    told = ", ".join(f"{name} = {shown(value)}" for name, value in list(values.items())[:8])
    return f"{place_in(con, relation, int(number))} ({told})"


def shown(value: object) -> str:
    """A value as messages show it."""
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
