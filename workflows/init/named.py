"""What a config names of a warehouse: a table, or a query where its name alone would not do."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.core.errors import DataError
from workflows.init.convert import Written
from workflows.init.entities import Entity
from workflows.init.profile import Table
from workflows.init.roles import Sketch
from workflows.init.stored import Stored
from workflows.init.warehouse import Warehouse
from workflows.tables.check import INTEGERS

__all__ = ["named_entity", "named_events"]

ODD_TIME = "name a query that makes a timestamp of it"


def named_events(warehouse: Warehouse, sketch: Sketch) -> Written:
    """What the config names as the events.

    Raises:
        DataError: neither their name nor a query of ours does.
    """
    events, stored = sketch.events, _stored(sketch.events)
    needed = [name for name in (sketch.user, sketch.item, sketch.time) if name]
    if sketch.time is None:
        raise DataError(
            f"{events.name}: no column says when an event was, and rows of a database have no order; name one with "
            "--timestamp, or name a query that has one"
        )
    _check_ids(events, [sketch.user, sketch.item])
    time = events.columns[sketch.time].time
    if time and time.reason:
        raise DataError(f"{events.name}: {time.reason}, which prepare does not read; {ODD_TIME}")
    lacking = {name: _num_nulls(warehouse, events, stored, name) for name in needed}
    reasons = [f"{count:,} of its rows have no '{name}'" for name, count in lacking.items() if count]
    known = [name for name, count in lacking.items() if count]
    return Written(stored.query({}, known), reasons, is_copy=False) if reasons else Written(stored.spec, [])


def named_entity(warehouse: Warehouse, entity: Entity, name: str) -> Written:
    """What the config names as the items or users.

    Args:
        warehouse: counts what a sample does not tell.
        entity: the table.
        name: of the ids in the events.

    Raises:
        DataError: neither its name nor a query of ours does.
    """
    table, key, stored = entity.table, entity.key, _stored(entity.table)
    _check_ids(table, [key])
    if not _is_unique(warehouse, table, stored, key):
        raise DataError(
            f"{table.name} has several rows of one '{key}'; name a query that has each once, such as "
            f'"SELECT {key}, max(...) AS ... FROM ... GROUP BY {key}"'
        )
    nulls = _num_nulls(warehouse, table, stored, key)
    reasons = [f"its ids are called '{key}', and '{name}' in the events"] if key != name else []
    reasons += [f"{nulls:,} of its rows have no '{key}'"] if nulls else []
    if not reasons:
        return Written(stored.spec, [])
    return Written(stored.query({key: warehouse.quoted(name)}, [key] * bool(nulls)), reasons, is_copy=False)


def _num_nulls(warehouse: Warehouse, table: Table, stored: Stored, name: str) -> int:
    if table.is_whole:
        return table.columns[name].nulls
    return warehouse.count(stored, "count(*)", f"{stored.names[name]} IS NULL")


def _is_unique(warehouse: Warehouse, table: Table, stored: Stored, key: str) -> bool:
    column = table.columns[key]
    if table.is_whole or column.distinct < table.num_looked - column.nulls:
        return column.distinct == table.num_looked - column.nulls
    return warehouse.count(stored, f"count({stored.names[key]}) - count(DISTINCT {stored.names[key]})") == 0


def _stored(table: Table) -> Stored:
    if table.opened.stored is None:
        reason = "; ".join(table.opened.reasons)
        raise DataError(
            f"--tables: of these one would be made that the database does not have ({reason}); name one table, or a "
            "query that makes it"
        )
    return table.opened.stored


def _check_ids(table: Table, ids: Sequence[str]) -> None:
    for name in ids:
        if table.columns[name].type not in {*INTEGERS, "VARCHAR"}:
            raise DataError(
                f"{table.name}: expected integers or text in '{name}', which are ids, got "
                f"{table.columns[name].type.lower()}; name a query that casts it"
            )
