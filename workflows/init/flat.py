"""Nested columns laid flat: a struct becomes columns, a list of items becomes a row an item."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from workflows.init.words import ITEM, rank
from workflows.tables.check import columns_of
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Flat", "flattened"]

LOOKED = 2_000
DEEP = 3


class Flat(msgspec.Struct):
    """A relation without nested columns.

    Attributes:
        sql: its rows.
        reasons: what was done, where anything was.
        left: columns that were left out.
    """

    sql: str
    reasons: list[str] = []
    left: list[str] = []


def flattened(con: duckdb.DuckDBPyConnection, sql: str, columns: Mapping[str, str]) -> Flat:
    """Lay columns flat: texts that hold JSON are read, structs become columns, a list of items becomes rows.

    Args:
        con: the connection.
        sql: the relation.
        columns: its columns and their types.
    """
    flat = Flat(sql)
    _read_json(con, flat, columns)
    laid_flat: list[str] = []
    for _ in range(DEEP):
        found = columns_of(con, flat.sql)
        lists = [name for name, kind in found.items() if _is_item_list(name, kind)]
        structs = [name for name, kind in found.items() if kind.startswith("STRUCT") and not kind.endswith("]")]
        if not structs and not lists:
            break
        if lists:
            others = ", ".join(quoted(name) for name in found if name != lists[0])
            name = quoted(lists[0])
            flat.sql = f"(SELECT {others}, unnest({name}) AS {name} FROM {flat.sql})"
            flat.reasons.append(f"each item of its lists '{lists[0]}' is a row of its own")
        else:
            flat.sql = _without_structs(con, flat.sql, found, structs)
            laid_flat += [name for name in structs if name not in laid_flat]
    flat.reasons += [f"its nested columns ({', '.join(laid_flat)}) are laid flat"] if laid_flat else []
    _name_lists(con, flat)
    found = columns_of(con, flat.sql)
    flat.left = [name for name, kind in found.items() if _is_nested(kind)]
    if flat.left:
        kept = ", ".join(quoted(name) for name in found if name not in flat.left)
        flat.sql = f"(SELECT {kept} FROM {flat.sql})"
    return flat


def _read_json(con: duckdb.DuckDBPyConnection, flat: Flat, columns: Mapping[str, str]) -> None:
    """Give texts that hold JSON the types of what they hold."""
    new = []
    for name in (name for name, kind in columns.items() if kind in ("VARCHAR", "JSON")):
        text = f"{quoted(name)}::VARCHAR"
        rows = con.execute(f"SELECT {text} FROM {flat.sql} WHERE {quoted(name)} IS NOT NULL LIMIT 100").fetchall()
        if not rows or not all(re.match(r'\s*(\{\s*"|\[\s*(\{\s*"|\]))', str(row[0])) for row in rows):
            continue
        if not any("{" in str(row[0]) for row in rows):
            continue
        looked = f"(SELECT {text} AS j FROM {flat.sql} WHERE json_valid({text}) LIMIT {LOOKED})"
        structure = con.execute(f"SELECT json_group_structure(j::JSON)::VARCHAR FROM {looked}").fetchall()[0][0]
        literal = str(structure).replace("'", "''")
        new.append(f"json_transform(CASE WHEN json_valid({text}) THEN {text} END, '{literal}') AS {quoted(name)}")
        flat.reasons.append(f"'{name}' holds JSON")
    if new:
        flat.sql = f"(SELECT * REPLACE ({', '.join(new)}) FROM {flat.sql})"


def _name_lists(con: duckdb.DuckDBPyConnection, flat: Flat) -> None:
    """Make of a list of structs the list of their names, or else of their ids."""
    named = {}
    for name, kind in columns_of(con, flat.sql).items():
        fields = _fields(kind) if kind.startswith("STRUCT") and kind.endswith("[]") else []
        wanted = [field for field in fields if field == "name"] or [field for field in fields if field.endswith("id")]
        if wanted and "value" not in fields:
            named[name] = wanted[0]
    if named:
        replaced = ", ".join(
            f"list_transform({quoted(name)}, x -> x.{quoted(field)}) AS {quoted(name)}" for name, field in named.items()
        )
        flat.sql = f"(SELECT * REPLACE ({replaced}) FROM {flat.sql})"
        flat.reasons.append(f"of its lists ({', '.join(named)}) the names are kept")


def _fields(kind: str) -> list[str]:
    """The names of a struct's fields, of those inside it too."""
    found = re.findall(r'"([^"]+)" [A-Z]|[(,]\s*(\w+) [A-Z]', kind)
    return [in_quotes or bare for in_quotes, bare in found]


def _is_item_list(name: str, kind: str) -> bool:
    """Whether a column holds lists of structs that have an item's id."""
    if not (kind.startswith("STRUCT") and kind.endswith("[]")):
        return False
    names = _fields(kind)
    is_list_of_items = rank(name, ("items", "products", "lineitems", "orderlines", "basket", "cart")) is not None
    return any(rank(one, ITEM) is not None for one in names) or (is_list_of_items and "id" in names)


def _is_nested(kind: str) -> bool:
    return kind.startswith(("STRUCT", "MAP", "UNION")) or kind == "JSON" or kind.endswith("][]")


def _without_structs(con: duckdb.DuckDBPyConnection, sql: str, columns: Mapping[str, str], structs: list[str]) -> str:
    taken = {name.casefold() for name in columns if name not in structs}
    wanted = [quoted(name) for name in columns if name not in structs]
    for struct in structs:
        for field in columns_of(con, f"(SELECT unnest({quoted(struct)}) FROM {sql})"):
            prefix = struct.rstrip("s")
            name = field if field.casefold().startswith(prefix.casefold()) else f"{prefix}_{field.strip(': ')}"
            name = name if name.casefold() not in taken else f"{struct}_{field}"
            taken.add(name.casefold())
            wanted.append(
                f"struct_extract({quoted(struct)}, '{field.replace(chr(39), chr(39) * 2)}') AS {quoted(name)}"
            )
    return f"(SELECT {', '.join(wanted)} FROM {sql})"
