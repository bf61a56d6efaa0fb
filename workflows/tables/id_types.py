"""Whether ids are int64 or strings. A CSV file does not say: its ids are read as text and settled over every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import IdType, bad_rows, columns_of, id_type
from workflows.tables.config import IdKind
from workflows.tables.csv_kinds import test_sql
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["settle_ids"]


def settle_ids(
    con: duckdb.DuckDBPyConnection, side: str, column: str, relations: Mapping[str, bool], wanted: IdKind
) -> IdType:
    """Give an id column one type in every table that holds it.

    "auto": the type of the Parquet tables; where all are CSV, int64 when the text of every id is that of an int64 as
    it is printed, else string, so that "007", "+7", "7 " and "7a" keep every character.

    Args:
        con: holds the tables.
        side: "user" or "item", for the messages.
        column: the id column.
        relations: name of each table ("events", "items", "users"), read as raw_NAME -> whether it is CSV, where int64
            ids can become text again without a change.
        wanted: data.user_id_type or data.item_id_type.

    Raises:
        DataError: ids that are not integers where int64 is wanted, or tables of different types.
    """
    shapes = {name: columns_of(con, f"raw_{name}") for name in relations}
    kinds = {name: id_type(name, column, shapes[name]) for name in relations}
    kind: IdType
    if wanted == "auto":
        typed = {name: found for name, found in kinds.items() if not relations[name]}
        kind = _common(side, column, typed) if typed else "int64"
        for name in relations:
            if kind == "int64" and kinds[name] == "string" and (bad := _no_integers(con, f"raw_{name}", column)):
                if typed:
                    raise DataError(
                        f"{name}: id column '{column}' must hold integers as the {next(iter(typed))} do, got {bad}; "
                        f"correct these ids, or set data.{side}_id_type = 'string' to read all of them as text"
                    )
                kind = "string"
    else:
        kind = wanted
    for name, found in kinds.items():
        if found == kind:
            continue
        if wanted == "int64":
            _check_integers(con, side, name, column)
        con.execute(f"ALTER TABLE raw_{name} ALTER {quoted(column)} TYPE {'BIGINT' if kind == 'int64' else 'VARCHAR'}")
    return kind


def _common(side: str, column: str, typed: Mapping[str, IdType]) -> IdType:
    """The type of the Parquet tables."""
    (first, kind), *others = typed.items()
    for name, found in others:
        if found != kind:
            raise DataError(
                f"{name}: id column '{column}' holds {found} ids, but the {first} hold {kind} ids; "
                f"write both with one type or set data.{side}_id_type"
            )
    return kind


def _no_integers(con: duckdb.DuckDBPyConnection, relation: str, column: str) -> str:
    """The rows whose id would not come back the same from an int64, or '' where there are none.

    Blanks before an id come from a file laid out in columns; beside the same id without them they tell two apart.
    """
    text = quoted(column)
    if bad := bad_rows(
        con, relation, f"{text} IS NOT NULL AND TRY_CAST({text} AS BIGINT)::VARCHAR IS DISTINCT FROM ltrim({text})"
    ):
        return bad
    laid_out = f"{text} <> ltrim({text})"
    twice = f"{laid_out} AND ltrim({text}) IN (SELECT ltrim({text}) FROM {relation} GROUP BY 1 HAVING "
    return bad_rows(con, relation, f"{twice} count(DISTINCT {text}) > 1)")


def _check_integers(con: duckdb.DuckDBPyConnection, side: str, name: str, column: str) -> None:
    whole = test_sql("whole", quoted(column))
    if bad := bad_rows(con, f"raw_{name}", f"{quoted(column)} IS NOT NULL AND {whole} IS NOT TRUE"):
        raise DataError(
            f"{name}: id column '{column}' must hold int64 ids (data.{side}_id_type = 'int64'), got {bad}; use 'string'"
        )
