"""Read the events into `raw_events`: what the config names of them, each column in one type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.check import Shape, check_columns, check_not_empty, columns_of
from workflows.tables.codes import check_codes, check_digits
from workflows.tables.common_types import Kinds, common_types
from workflows.tables.comparisons import comparison_sql
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_table import id_use, run, settle_table
from workflows.tables.csv_types import Role, Settled, Use
from workflows.tables.kinds import kinds_sql
from workflows.tables.labels import Condition, label_conditions
from workflows.tables.places import note_files
from workflows.tables.source import Relation, Source, open_source, quoted
from workflows.tables.watch import num_rows

if TYPE_CHECKING:
    import duckdb

__all__ = ["needed_columns", "read_events"]


def read_events(
    con: duckdb.DuckDBPyConnection,
    sources: Mapping[str, Source],
    data: DataConfig,
    split: SplitConfig,
    context: Mapping[str, Use],
) -> Shape:
    """Create `raw_events` from one table, or from those of the splits one after the other.

    Args:
        con: where it goes.
        sources: "" or the name of a split -> files.
        data: what the columns mean.
        split: names the split column.
        context: what context columns of CSV files are read for.

    Returns:
        The columns that the config names, and the labels, with their types.

    Raises:
        DataError: a column is absent, has no common type in the splits or cannot mean what it should; no rows.
    """
    conditions = label_conditions(data)
    keys = _keys(data, split, conditions)
    needed = needed_columns(data, split)
    opened = {n: open_source(con, source, [column for column, _ in needed]) for n, source in sources.items()}
    for name, relation in opened.items():
        check_columns(_table(name), columns_of(con, relation.sql), needed, relation.source)
        check_digits(con, relation, [*data.context, *(condition.column for condition in conditions.values())])
    uses = _uses(data, keys, conditions, context)
    texts = [relation for relation in opened.values() if relation.dialects]
    found = settle_table(con, "events", texts, list(uses.values()), [data.user_id, data.item_id]) if texts else []
    settled = dict(zip(uses, found, strict=False))
    brought = {n: settled if opened[n].dialects else _as_it_is(con, opened[n], uses) for n in opened}
    for name, kinds in common_types(con, opened, brought, keys, data).items():
        labels, of_labels = {}, {label: kinds[f"data.labels.{label}"] for label in conditions}
        for label, condition in conditions.items():
            labels[label] = comparison_sql(label, condition, of_labels[label].sql, of_labels[label].type)
        labels |= kinds_sql(conditions, {label: kind.sql for label, kind in of_labels.items()})
        _append(con, name, opened[name], kinds, keys, labels)
    check_not_empty(con, "events", "raw_events", next(iter(sources.values())))
    _drop_unlabelled(con, conditions)
    known = keys.keys() | conditions.keys()
    shape = {column: kind for column, kind in columns_of(con, "raw_events").items() if column in known}
    check_codes(con, "events", shape, context)
    return shape


def needed_columns(data: DataConfig, split: SplitConfig) -> list[tuple[str, str]]:
    """What is read of the events: (column, config key that names it)."""
    conditions = label_conditions(data)
    of_conditions = [(condition.column, f"data.labels.{name}") for name, condition in conditions.items()]
    return [*_keys(data, split, conditions).items(), *of_conditions]


def _table(name: str) -> str:
    return f"split.{name}" if name else "events"


def _keys(data: DataConfig, split: SplitConfig, conditions: Mapping[str, Condition]) -> dict[str, str]:
    """Column -> the config key that names it."""
    keys = {data.user_id: "data.user_id", data.item_id: "data.item_id"}
    keys |= {label: "data.labels" for label in data.labels if label not in conditions}
    keys |= dict.fromkeys(data.context, "data.context")
    keys |= {data.position: "data.position"} if data.position else {}
    keys |= {data.propensity: "data.propensity"} if data.propensity else {}
    keys |= {data.timestamp: "data.timestamp"} if data.timestamp else {}
    return keys | ({split.column: "split.column"} if split.by == "column" else {})


def _uses(
    data: DataConfig, keys: Mapping[str, str], conditions: Mapping[str, Condition], context: Mapping[str, Use]
) -> dict[str, Use]:
    """What each column of a CSV is read for; a column of a condition is read for that besides."""
    uses = {}
    for column, key in keys.items():
        if column in (data.user_id, data.item_id):
            uses[column] = id_use(data, column)
        elif key == "data.context":
            uses[column] = context.get(column, Use(column, "any", key))
        elif key == "split.column":
            uses[column] = Use(column, "text", key)
        elif key == "data.labels":
            uses[column] = Use(column, "label", key)
        elif key == "data.propensity":
            uses[column] = Use(column, "any", key)  # probabilities, or a flag
        else:
            uses[column] = Use(column, "timestamp" if key == "data.timestamp" else "integer", key)
    for name, condition in conditions.items():
        key = f"data.labels.{name}"
        uses[key] = Use(condition.column, _role(condition, context), key)
    return uses


def _role(condition: Condition, context: Mapping[str, Use]) -> Role:
    """What a CSV column is read for in a condition; that a price in quotes is no text shows where it is ordered."""
    if isinstance(condition.value, bool):
        return "flag"
    if not isinstance(condition.value, str):
        return "amount"
    is_code = condition.column in context and context[condition.column].role == "code"
    return "equal" if is_code or condition.op in ("==", "!=") else "comparable"


def _as_it_is(con: duckdb.DuckDBPyConnection, relation: Relation, uses: Mapping[str, Use]) -> Kinds:
    """The columns of Parquet files, which have types."""
    shape = columns_of(con, relation.sql)
    return {name: Settled(shape[use.column], quoted(use.column)) for name, use in uses.items()}


def _append(
    con: duckdb.DuckDBPyConnection,
    name: str,
    relation: Relation,
    kinds: Kinds,
    keys: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    tables = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'raw_events'").fetchall()
    offset = num_rows(con, "raw_events") if tables else 0
    wanted = [f"row_number() OVER () - 1 + {offset} AS __n"]
    wanted += [f"{kinds[column].sql} AS {quoted(column)}" for column in keys]
    wanted += [f"{sql} AS {quoted(label)}" for label, sql in labels.items()]
    wanted += [f"'{name}' AS __given" if name else "NULL::VARCHAR AS __given"]
    into = "INSERT INTO raw_events BY NAME" if tables else "CREATE TABLE raw_events AS"
    run(con, relation, f"{into} SELECT {', '.join(wanted)} FROM {relation.sql}")
    note_files(con, "raw_events", relation)


def _drop_unlabelled(con: duckdb.DuckDBPyConnection, conditions: Mapping[str, Condition]) -> None:
    """Leave out, aloud, the events on which a condition says nothing: those with a null in its column."""
    for label, condition in conditions.items():
        before = num_rows(con, "raw_events")
        con.execute(f"DELETE FROM raw_events WHERE {quoted(label)} IS NULL")
        dropped = before - num_rows(con, "raw_events")
        if dropped:
            console.say(f"data: dropped {dropped:,} events without '{condition.column}', so without '{label}'")
        if dropped == before:
            raise DataError(
                f"events: column '{condition.column}' (data.labels.{label}) must hold a value somewhere, got nulls or "
                f"NaN in all {before:,} rows; correct data.labels"
            )
