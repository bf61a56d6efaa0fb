"""Whether ids are int64 or strings. A CSV file does not say: its ids are read as text and settled over every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import IdType, bad_rows, columns_of, id_type
from workflows.tables.config import IdKind
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["settle_ids"]


def settle_ids(
    con: duckdb.DuckDBPyConnection, side: str, column: str, relations: Mapping[str, bool], wanted: IdKind
) -> IdType:
    """Give an id column one type in every table that holds it.

    "auto": the type of the Parquet tables; where all are CSV, int64 when the text of every id is that of an int64 as
    it is printed, else string, so that "007", "+7" and "7a" keep every character.

    Args:
        con: holds the tables.
        side: "user" or "item", for the messages.
        column: the id column.
        relations: name of each table ("events", "items", "users"), read as raw_NAME -> whether its ids are CSV text.
        wanted: data.user_id_type or data.item_id_type.

    Raises:
        DataError: ids that are not integers where int64 is wanted, or tables of different types.
    """
    texts = [name for name, is_text in relations.items() if is_text]
    shapes = {name: columns_of(con, f"raw_{name}") for name in relations}
    kinds = {name: id_type(name, column, shapes[name]) for name in relations}
    typed = {kind for name, kind in kinds.items() if name not in texts}
    if wanted == "int64":
        for name in relations:
            _check_integers(con, side, name, column)
    is_integer = typed <= {"int64"} and not any(_has_text(con, name, column) for name in texts)
    kind: IdType = wanted if wanted != "auto" else "int64" if texts and is_integer else kinds["events"]
    for name, found in kinds.items():
        if found == kind:
            continue
        if wanted == "auto" and name not in texts:
            raise DataError(
                f"{name}: id column '{column}' holds {found} ids, but the events hold {kind} ids; "
                f"write both with one type or set data.{side}_id_type"
            )
        con.execute(f"ALTER TABLE raw_{name} ALTER {quoted(column)} TYPE {'BIGINT' if kind == 'int64' else 'VARCHAR'}")
    return kind


def _has_text(con: duckdb.DuckDBPyConnection, name: str, column: str) -> bool:
    """Whether an id would not come back the same from an int64."""
    text = quoted(column)
    changed = f"{text} IS NOT NULL AND TRY_CAST({text} AS BIGINT)::VARCHAR IS DISTINCT FROM trim({text})"
    return bool(con.execute(f"SELECT 1 FROM raw_{name} WHERE {changed} LIMIT 1").fetchall())


def _check_integers(con: duckdb.DuckDBPyConnection, side: str, name: str, column: str) -> None:
    text = quoted(column)
    if bad := bad_rows(con, f"raw_{name}", f"{text} IS NOT NULL AND TRY_CAST({text} AS BIGINT) IS NULL"):
        raise DataError(
            f"{name}: id column '{column}' must hold int64 ids (data.{side}_id_type = 'int64'), got {bad}; use 'string'"
        )
