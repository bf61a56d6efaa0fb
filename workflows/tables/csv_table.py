"""CSV files as a table of typed columns, or one sentence with the file, the row and the value that fit no type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.core.disk import is_disk_full
from workflows.core.errors import DataError
from workflows.features.config import FeaturesConfig
from workflows.tables.check import shown
from workflows.tables.config import DataConfig
from workflows.tables.csv_errors import csv_error
from workflows.tables.csv_types import Bad, Role, Settled, Use, settle
from workflows.tables.places import parts_of, place_among
from workflows.tables.source import Relation, megabytes_of, quoted, unreadable
from workflows.tables.watch import watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["bad_rows_of", "feature_uses", "id_use", "run", "settle_table"]

ROLES: dict[str, Role] = {
    "continuous": "number",
    "bucketised": "number",
    "list": "text",
    "categorical": "code",
    "hashed": "code",
}


def feature_uses(features: FeaturesConfig) -> dict[str, dict[str, Use]]:
    """What the features say of the columns: table ("users", "items", "context") -> column -> its use."""
    return {
        table: {
            name: Use(name, ROLES[spec.kind], f"features.{table}.{name} is {spec.kind}") for name, spec in specs.items()
        }
        for table, specs in (("users", features.users), ("items", features.items), ("context", features.context))
    }


def id_use(data: DataConfig, column: str) -> Use:
    """How an id column of a CSV is read: as int64 where each id is printed so, unless the config says what ids are."""
    side = "user" if column == data.user_id else "item"
    wanted = data.user_id_type if side == "user" else data.item_id_type
    return Use(column, "id" if wanted == "auto" else "text", f"data.{side}_id")


def run(con: duckdb.DuckDBPyConnection, relation: Relation, sql: str) -> None:
    """Execute what reads a relation.

    Raises:
        DataError: names the file that cannot be read.
    """
    import duckdb

    try:
        with watched(con, f"reading {relation.source.table}", megabytes_of(relation.source), "MB"):
            con.execute(sql)
    except (duckdb.Error, OSError) as error:
        if is_disk_full(error):
            raise
        raise unreadable(con, relation, error) from None


def settle_table(
    con: duckdb.DuckDBPyConnection, table: str, relations: Sequence[Relation], uses: Sequence[Use], ids: Sequence[str]
) -> list[Settled]:
    """Settle the types of columns over all rows of CSV files that make one table.

    Args:
        con: the connection.
        table: name for the messages.
        relations: the files; one type holds for all of them.
        uses: the columns.
        ids: columns to show of a row at fault.

    Returns:
        A type and its SQL for each use.

    Raises:
        DataError: a column holds what its use does not allow, or a file cannot be read.
    """
    import duckdb

    try:
        size = sum(megabytes_of(relation.source) for relation in relations)
        with watched(con, f"finding the types of {table}", size, "MB"):
            found = settle(con, _union([relation.sql for relation in relations]), uses)
        for use, settled in zip(uses, found, strict=True):
            if isinstance(settled, Bad):
                rows = bad_rows_of(con, relations, settled.condition, [*ids, use.column])
                raise DataError(
                    f"{table}: column '{use.column}' must hold {settled.wanted} ({use.key}), got {rows}; "
                    f"{settled.remedy}"
                )
    except (duckdb.Error, OSError) as error:
        if is_disk_full(error):
            raise
        raise _failed(con, relations, error) from None
    return [settled for settled in found if isinstance(settled, Settled)]


def _union(scans: Sequence[str]) -> str:
    return scans[0] if len(scans) == 1 else "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {s}" for s in scans) + ")"


def _failed(con: duckdb.DuckDBPyConnection, relations: Sequence[Relation], error: Exception) -> DataError:
    for relation in relations:
        for file, dialect in relation.dialects:
            if found := csv_error(con, relation.source.table, file, dialect):
                return found
    return unreadable(con, relations[0], error)


def bad_rows_of(
    con: duckdb.DuckDBPyConnection, relations: Sequence[Relation], condition: str, columns: Sequence[str]
) -> str:
    """'2 rows, for example row 7 of items.csv (item = '9', price = 'n/a')', or '' when no row meets the condition."""
    scan = _union([relation.sql for relation in relations])
    names = list(dict.fromkeys(columns))
    wanted = ", ".join(map(quoted, names))
    numbered = f"(SELECT {wanted}, row_number() OVER () - 1 AS __n FROM {scan})"
    count, first = con.execute(f"SELECT count(*), min(__n) FROM {numbered} WHERE {condition}").fetchall()[0]
    if not count:
        return ""
    values = con.execute(f"SELECT {wanted} FROM {numbered} WHERE __n = {first}").fetchall()[0]
    example = ", ".join(f"{name} = {shown(value)}" for name, value in zip(names, values, strict=True))
    rows = f"{count:,} {'row' if count == 1 else 'rows'}"
    return f"{rows}, for example {place_among(con, parts_of(relations), first)} ({example})"
