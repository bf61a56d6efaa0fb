"""Raw ids to rows: `ids/*.npy`, `items.parquet`, `users.parquet`, and the table `events` with rows instead of ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflows.tables.check import IdType
from workflows.tables.config import DataConfig
from workflows.tables.load import Loaded
from workflows.tables.source import quoted
from workflows.tables.split import sql_type
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["write_rows"]


def write_rows(con: duckdb.DuckDBPyConnection, loaded: Loaded, data: DataConfig, folder: Path) -> tuple[int, int]:
    """Number users and items in the order of their ids, write both, and turn `placed` into `events`.

    The catalogue is the items table, or the items of train and valid, which is what the served models have learnt from;
    the users are those of the events and of the users table. An event of an item outside the catalogue (test only) gets
    item_row -1, and in `outside` the number of its item among those.

    Returns:
        The number of users and of items.
    """
    user, item = quoted(data.user_id), quoted(data.item_id)
    user_ids = f"SELECT user_id::{sql_type(loaded.user_type)} AS id FROM placed"
    if loaded.users:
        user_ids += f" UNION ALL SELECT {user}::{sql_type(loaded.user_type)} FROM raw_users"
    item_ids = "SELECT item_id AS id FROM placed WHERE split <= 1"
    if loaded.items:
        item_ids = f"SELECT {item}::{sql_type(loaded.item_type)} AS id FROM raw_items"
    (folder / "ids").mkdir()
    total = num_rows(con, "placed")
    with watched(con, "numbering users and items", total, one=False):
        num_users = _number(con, "user", user_ids, loaded.user_type, folder / "ids" / "users.npy")
        num_items = _number(con, "item", item_ids, loaded.item_type, folder / "ids" / "items.npy")
        _write_entities(con, "item", data.item_id, loaded.items, loaded.item_type, folder / "items.parquet")
        _write_entities(con, "user", data.user_id, loaded.users, loaded.user_type, folder / "users.parquet")
        con.execute(
            "CREATE TABLE outside_ids AS SELECT row_number() OVER (ORDER BY id) - 1 AS row, id "
            "FROM (SELECT item_id AS id FROM placed EXCEPT SELECT id FROM item_ids)"
        )
    with watched(con, "numbering the events", total):
        con.execute(
            "CREATE TABLE events AS SELECT p.* EXCLUDE (user_id, item_id), u.row AS user_row, "
            "coalesce(i.row, -1) AS item_row, o.row AS outside FROM placed p JOIN user_ids u ON p.user_id = u.id "
            "LEFT JOIN item_ids i ON p.item_id = i.id LEFT JOIN outside_ids o ON p.item_id = o.id"
        )
    con.execute("DROP TABLE placed")
    return num_users, num_items


def _number(con: duckdb.DuckDBPyConnection, side: str, ids: str, kind: IdType, path: Path) -> int:
    con.execute(
        f"CREATE TABLE {side}_ids AS SELECT row_number() OVER (ORDER BY id) - 1 AS row, id "
        f"FROM (SELECT DISTINCT id FROM ({ids}))"
    )
    column = con.execute(f"SELECT id FROM {side}_ids ORDER BY row").fetchnumpy()["id"]
    if kind == "int64":
        array = np.ascontiguousarray(column, dtype=np.int64)
    else:
        array = np.array([str(text).encode() for text in column.tolist()], dtype=np.bytes_)
    np.save(path, array)
    return len(array)


def _write_entities(
    con: duckdb.DuckDBPyConnection, side: str, column: str, shape: dict[str, str], kind: IdType, path: Path
) -> None:
    """The raw table in row order, the id widened; the id column alone where there is no table."""
    name = quoted(column)
    sql = f"SELECT id AS {name} FROM {side}_ids ORDER BY row"
    if shape:
        others = "".join(f", t.{quoted(other)}" for other in shape if other != column)
        sql = (
            f"SELECT i.id AS {name}{others} FROM {side}_ids i "
            f"LEFT JOIN raw_{side}s t ON i.id = t.{name}::{sql_type(kind)} ORDER BY i.row"
        )
    target = str(path).replace("'", "''")
    con.execute(f"COPY ({sql}) TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE 122880)")
