"""From tables to all that their config says."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.core.disk import writing
from workflows.features.checks import REQUEST_NAMES
from workflows.init.convert import Written, id_types, write_entity, write_events
from workflows.init.derived import items_of_events, with_properties
from workflows.init.entities import Entity
from workflows.init.features import Feature, context_of, feature_of
from workflows.init.labels import labels_of
from workflows.init.named import named_entity, named_events
from workflows.init.opening import open_tables
from workflows.init.page import Findings
from workflows.init.profile import Table, look
from workflows.init.roles import Given, Sketch, sketch_of
from workflows.init.split import given_split, split_of
from workflows.init.times import looks_like_dates
from workflows.init.warehouse import Warehouse, opened_warehouse
from workflows.init.words import ITEM, STOCK, USER, plain_name, rank
from workflows.tables.check import FLOATS, INTEGERS
from workflows.tables.database import database

if TYPE_CHECKING:
    import duckdb

__all__ = ["find_in_warehouse", "find_out"]

FEW = 50


def find_out(paths: Sequence[str], given: Given, folder: Path) -> Findings:
    """Look at the tables, and write those as Parquet that a config cannot name as they are.

    Args:
        paths: files and folders.
        given: what the person said of the columns.
        folder: for the Parquet files; made where one is needed.

    Raises:
        DataError: a table cannot be read or is empty; no user or item is found; tables do not join.
    """
    with writing("init", folder), tempfile.TemporaryDirectory(prefix="cascade-init-") as name:
        scratch = Path(name)
        with database(scratch) as con:
            con.execute("SET TimeZone = 'UTC'")
            opened = open_tables(con, paths, scratch)
            sketch = sketch_of(con, [look(con, one, place) for place, one in enumerate(opened)], given)
            return _findings(con, sketch, folder)


def find_in_warehouse(url: str, specs: Sequence[str], given: Given) -> Findings:
    """Look at a sample of tables of a warehouse. Nothing is written: what a config cannot name becomes a query.

    Args:
        url: as data.source takes it.
        specs: tables and queries.
        given: what the person said of the columns.

    Raises:
        CascadeError: the warehouse refuses, a table is not there or empty, or as with `find_out`.
    """
    with tempfile.TemporaryDirectory(prefix="cascade-init-") as name:
        scratch = Path(name)
        with writing("init", scratch), opened_warehouse(url, scratch) as warehouse, database(scratch) as con:
            con.execute("SET TimeZone = 'UTC'")
            opened = warehouse.open_tables(con, specs)
            sketch = sketch_of(con, [look(con, one, place) for place, one in enumerate(opened)], given)
            return _findings(con, sketch, scratch, warehouse)


def _findings(
    con: duckdb.DuckDBPyConnection, sketch: Sketch, folder: Path, warehouse: Warehouse | None = None
) -> Findings:
    events, main = sketch.events, {sketch.user, sketch.item, *([sketch.time] if sketch.time else [])}
    labels = labels_of(events, main)
    context = {
        name: feature
        for name in events.columns
        if name not in main and name not in labels.columns and name not in REQUEST_NAMES
        if (feature := context_of(events, name))
    }
    if sketch.items:
        sketch.items = with_properties(con, sketch.items)
    elif warehouse is None:
        sketch.items = items_of_events(con, events, sketch.item, sketch.time, [*main, *labels.columns, *context])
    of_items = _features(con, sketch.items, sketch.item, of_users=False)
    stock = _stock(sketch.items)
    of_items.pop(stock, None)
    histories = warehouse.with_histories(con, events, sketch.user, sketch.time) if warehouse else events
    of_events, items, users = _specs(con, sketch, folder, warehouse)
    return Findings(
        sketch,
        events=of_events,
        items=items,
        users=users,
        id_types=(_mixed(sketch, sketch.user, sketch.users), _mixed(sketch, sketch.item, sketch.items)),
        labels=labels,
        split=split_of(con, histories, sketch.user, sketch.time),
        context=context,
        of_items=of_items,
        of_users=_features(con, sketch.users, sketch.user, of_users=True),
        stock=stock,
        unknown=1.0 - sketch.items.share if sketch.items else 0.0,
        left_context=_perhaps_context(events, [*main, *labels.columns, *context, *of_items]),
        source=warehouse.url if warehouse else "",
    )


def _specs(
    con: duckdb.DuckDBPyConnection, sketch: Sketch, folder: Path, warehouse: Warehouse | None
) -> tuple[Written, Written | None, Written | None]:
    """What the config names as events, items and users."""
    items, users = sketch.items, sketch.users
    if warehouse:
        named_items = named_entity(warehouse, items, sketch.item) if items else None
        named_users = named_entity(warehouse, users, sketch.user) if users else None
        return named_events(warehouse, sketch), named_items, named_users
    of_users, of_items = id_types(sketch)
    return (
        write_events(con, sketch, folder),
        write_entity(con, items, sketch.item, of_items, folder / "items.parquet") if items else None,
        write_entity(con, users, sketch.user, of_users, folder / "users.parquet") if users else None,
    )


def _features(
    con: duckdb.DuckDBPyConnection, entity: Entity | None, column: str, *, of_users: bool
) -> dict[str, Feature]:
    if entity is None:
        return {}
    names = [name for name in entity.table.columns if name not in (entity.key, column)]
    return {name: feature_of(con, entity.table, name, of_users=of_users) for name in names}


def _stock(items: Entity | None) -> str:
    if items is None:
        return ""
    found = [n for n, c in items.table.columns.items() if plain_name(n) in STOCK and c.type == "BOOLEAN"]
    return next(iter(found), "")


def _mixed(sketch: Sketch, column: str, entity: Entity | None) -> str:
    """The id type that the config has to say: "string" where only one of the tables has numbers."""
    kinds = {sketch.events.columns[column].type} | ({entity.table.columns[entity.key].type} if entity else set())
    is_number = {kind in INTEGERS | FLOATS for kind in kinds}
    return "string" if len(is_number) > 1 else ""


def _perhaps_context(events: Table, but: Sequence[str]) -> list[str]:
    but = [*but, given_split(events)]
    return [
        name
        for name, column in events.columns.items()
        if name not in but and name not in REQUEST_NAMES and rank(name, ITEM) is None and rank(name, USER) is None
        if column.is_text and 2 <= column.distinct <= min(FEW, 0.2 * events.num_looked)
        if not looks_like_dates(value for value, _ in column.top)
    ]
