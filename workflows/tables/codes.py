"""Columns that become codes: whole numbers of which no digit is lost, or one sentence before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import FLOATS, Shape, bad_rows, columns_of
from workflows.tables.csv_types import Use
from workflows.tables.places import parts_of
from workflows.tables.source import Relation, quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_codes", "check_digits"]

WHOLE_UP_TO = {"FLOAT": 2**24, "DOUBLE": 2**53, "HUGEINT": 2**53}  # Parquet holds a HUGEINT as a double


def check_codes(con: duckdb.DuckDBPyConnection, table: str, shape: Shape, uses: Mapping[str, Use]) -> None:
    """Refuse numbers that are no code of 64 bits.

    Args:
        con: holds raw_TABLE.
        table: "events", "items" or "users".
        shape: its columns.
        uses: column -> what it is read for.

    Raises:
        DataError: names the column, the count and an example row.
    """
    for column, use in uses.items():
        kind, name = shape.get(column, ""), quoted(column)
        if use.role != "code":
            continue
        wanted, condition, remedy = "", "", "write them as text"
        if kind == "UBIGINT":
            wanted, condition = "codes that fit in int64", f"{name} > {2**63 - 1}"
        elif kind.startswith("DECIMAL") or kind in FLOATS:
            # Of floats NaN and infinity are missing values; what one type of them rounds is said with the type's name.
            finite = f"isfinite({name}) AND " if kind in FLOATS else ""
            wanted, remedy = "whole numbers", "write them as text, or make the feature 'continuous' or 'bucketised'"
            condition = f"{finite}({name} <> trunc({name}) OR abs({name}::DOUBLE) >= {2.0**63!r})"
        if condition and (bad := bad_rows(con, f"raw_{table}", condition)):
            raise DataError(f"{table}: column '{column}' must hold {wanted} ({use.key}), got {bad}; {remedy}")


def check_digits(con: duckdb.DuckDBPyConnection, relation: Relation, columns: Iterable[str]) -> None:
    """Refuse Parquet files of different types whose integers their common type rounds.

    Args:
        con: the connection.
        relation: the table.
        columns: those of which every digit counts.

    Raises:
        DataError: names the column, both files with their types, the count and an example row.
    """
    if relation.dialects or len(relation.source.files) < 2:
        return
    shape = columns_of(con, relation.sql)
    for column in columns:
        if (largest := WHOLE_UP_TO.get(shape.get(column, ""))) is None:
            continue
        name = quoted(column)
        types = {part.file: (columns_of(con, part.sql).get(column, ""), part.sql) for part in parts_of([relation])}
        for file, (kind, sql) in types.items():
            if kind in ("", *FLOATS):
                continue
            numbered = f"(SELECT {name}, row_number() OVER () - 1 AS __n FROM {sql})"
            if bad := bad_rows(con, numbered, f"abs({name}::HUGEINT) > {largest}"):
                other = next(f for f, (found, _) in types.items() if found not in ("", kind))
                raise DataError(
                    f"{relation.source.table}: column '{column}' must have one type in all files, since their common "
                    f"type rounds whole numbers above {largest:,}: it is {kind.lower()} in {file} and "
                    f"{types[other][0].lower()} in {other}, got {bad}; write all files with one type, integers or text"
                )
