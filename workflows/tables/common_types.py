"""One type for each column of given splits: CSV files settle theirs by their values, Parquet files bring their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.check import FLOATS, INTEGERS, id_type
from workflows.tables.config import DataConfig
from workflows.tables.csv_kinds import test_sql
from workflows.tables.csv_table import bad_rows_of
from workflows.tables.csv_types import Settled
from workflows.tables.source import Relation, quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Kinds", "common_types"]

Kinds = dict[str, Settled]  # column or "data.labels.NAME" of a condition -> its type
TIMESTAMPS = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"}


def common_types(
    con: duckdb.DuckDBPyConnection,
    opened: Mapping[str, Relation],
    kinds: Mapping[str, Kinds],
    keys: Mapping[str, str],
    data: DataConfig,
) -> dict[str, Kinds]:
    """Widen the columns to a type that holds the values of every split: integers, floats and timestamps to the widest.

    A text in CSV beside integers is one of them when it is written as one; beside text, CSV stays as it is written.

    Args:
        con: the connection, in the zone UTC.
        opened: name of each split -> its files.
        kinds: name of each split -> the types of its columns.
        keys: column -> the config key that names it.
        data: whether ids are to be text or integers.

    Raises:
        DataError: types that have none in common, or values that the common one cannot hold.
    """
    found = {name: dict(columns) for name, columns in kinds.items()}
    for column, key in keys.items():
        types = {name: found[name][column].type for name in found}
        if len(set(types.values())) == 1:
            continue
        target = _configured_text(opened, types, column, data) or _common(opened, types, column, key, data)
        _check_fits(con, opened, found, column, target, data)
        for name, relation in opened.items():
            found[name][column] = _widened(relation, found[name][column], column, target)
    return found


def _configured_text(opened: Mapping[str, Relation], types: Mapping[str, str], column: str, data: DataConfig) -> str:
    """VARCHAR for ids where the config says what they are: they become that once all are there.

    Raises:
        DataError: ids of a type that is none for an id.
    """
    configured = {data.user_id: data.user_id_type, data.item_id: data.item_id_type}
    if column not in configured:
        return ""
    held = {id_type(opened[name].source.table, column, {column: kind}) for name, kind in types.items()}
    return "VARCHAR" if configured[column] == "string" or (configured[column] == "int64" and "string" in held) else ""


def _common(opened: Mapping[str, Relation], types: Mapping[str, str], column: str, key: str, data: DataConfig) -> str:
    """The type that holds those of all Parquet files and, as far as their types say, those of the CSV files."""
    typed = {name: kind for name, kind in types.items() if not opened[name].dialects}
    target = _widest(set(typed.values()), key)
    if not target:
        name, first = next(n for n in typed if types[n] != types[next(iter(typed))]), next(iter(typed))
        raise DataError(_contradiction(opened, types, name, first, column, data))
    texts = {name: kind for name, kind in types.items() if opened[name].dialects}
    if target == "VARCHAR" or "VARCHAR" in texts.values():
        return target  # whether the texts are such values is seen row by row
    if widest := _widest({target, *texts.values()}, key):
        return widest
    raise DataError(_contradiction(opened, types, next(iter(texts)), next(iter(typed)), column, data))


def _widest(types: set[str], key: str) -> str:
    """The type that holds all of these; "" where there is none."""
    if len(types) == 1:
        return next(iter(types))
    if key == "data.labels" and "BOOLEAN" in types:
        types = types - {"BOOLEAN"} | {"BIGINT"}  # as 0 and 1
    if types <= INTEGERS:
        return "BIGINT"
    if types <= INTEGERS | FLOATS:
        return "DOUBLE"
    if types <= TIMESTAMPS:
        return "TIMESTAMP_NS" if "TIMESTAMP_NS" in types else "TIMESTAMP"
    return ""


def _contradiction(
    opened: Mapping[str, Relation], types: Mapping[str, str], name: str, first: str, column: str, data: DataConfig
) -> str:
    side = {data.user_id: "user", data.item_id: "item"}.get(column)
    way_out = f"write both with one type or set data.{side}_id_type" if side else "write both with one type"
    return (
        f"{opened[name].source.table}: {'id ' if side else ''}column '{column}' holds {types[name].lower()} in "
        f"{opened[name].source.files[0]}, but {types[first].lower()} in {opened[first].source.files[0]} "
        f"({opened[first].source.table}); {way_out}"
    )


def _check_fits(
    con: duckdb.DuckDBPyConnection,
    opened: Mapping[str, Relation],
    found: Mapping[str, Kinds],
    column: str,
    target: str,
    data: DataConfig,
) -> None:
    """Refuse the rows that the common type cannot hold."""
    if target == "VARCHAR":
        return
    ids = [data.user_id, data.item_id]
    texts = [name for name in opened if opened[name].dialects and found[name][column].type == "VARCHAR"]
    others = [name for name in opened if name not in texts and found[name][column].type != target]
    first = next(opened[name].source.table for name in opened if name not in texts)
    name = quoted(column)
    tests: list[tuple[Sequence[str], str]] = [
        (texts, f"{name} IS NOT NULL AND {_fits_sql(name, target)} IS NOT TRUE"),
        *(([other], f"{name} IS NOT NULL AND {_is_lost(found[other][column], target)}") for other in others),
    ]
    for names, condition in tests:
        if names and (bad := bad_rows_of(con, [opened[n] for n in names], condition, [*ids, column])):
            side = {data.user_id: "user", data.item_id: "item"}.get(column)
            wanted = "integers" if target in INTEGERS and names is texts else f"values of type {target.lower()}"
            way_out = f"set data.{side}_id_type = 'string' to read all of them as text" if side else "write all as text"
            raise DataError(
                f"events: {'id ' if side else ''}column '{column}' must hold {wanted} as {first} does, got {bad}; "
                f"correct these {'ids' if side else 'values'}, or {way_out}"
            )


def _is_lost(kind: Settled, target: str) -> str:
    """Whether a value cannot be told in another type from its neighbours."""
    lost = f"TRY_CAST({kind.sql} AS {target}) IS NULL"
    rounded = target == "DOUBLE" and kind.type in INTEGERS
    return f"({lost} OR abs({kind.sql}::HUGEINT) > {2**53})" if rounded else lost


def _fits_sql(name: str, target: str) -> str:
    """Whether the text of a CSV is a value of a type, and one that is written so that nothing is lost."""
    if target in INTEGERS:
        return f"({test_sql('exact', f'ltrim({name})')} AND TRY_CAST({name} AS {target}) IS NOT NULL)"
    return f"TRY_CAST({name} AS {target}) IS NOT NULL"


def _widened(relation: Relation, kind: Settled, column: str, target: str) -> Settled:
    if kind.type == target:
        return kind
    if target == "VARCHAR" and relation.dialects:
        return Settled(target, quoted(column))  # as it is written
    return Settled(target, f"TRY_CAST({kind.sql} AS {target})")
