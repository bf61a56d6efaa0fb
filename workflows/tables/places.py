"""Where a row of a table stands: the file and the row inside it. Files are counted only where a message needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from workflows.tables.csv_files import csv_sql
from workflows.tables.paths import path_sql
from workflows.tables.source import Relation

if TYPE_CHECKING:
    import duckdb

__all__ = ["Part", "note_files", "parts_of", "place_among", "place_in"]

FILES = "raw_files"  # the files of every raw table, in the order in which their rows were read


class Part(msgspec.Struct, frozen=True):
    """One file of a table.

    Attributes:
        table: "events", "items", "users" or "split.train", "split.valid", "split.test".
        file: path or URL, as it was found.
        sql: its rows alone.
    """

    table: str
    file: str
    sql: str


def parts_of(relations: Iterable[Relation]) -> list[Part]:
    """The files of relations that are read one after the other."""
    return [
        Part(relation.source.table, file, sql)
        for relation in relations
        for file, sql in (
            [(file, csv_sql([(file, dialect)])) for file, dialect in relation.dialects]
            or [(file, f"read_parquet([{path_sql(file)}])") for file in relation.source.files]
        )
    ]


def note_files(con: duckdb.DuckDBPyConnection, raw: str, relation: Relation) -> None:
    """Remember from which files the latest rows of a raw table came.

    Args:
        con: the connection; the names stay in its database.
        raw: name of the raw table, whose `__n` counts the rows of all its files.
        relation: what was read into it.
    """
    parts = parts_of([relation])
    con.execute(f"CREATE TABLE IF NOT EXISTS {FILES} (raw VARCHAR, part VARCHAR, file VARCHAR, rows VARCHAR)")
    con.execute(
        f"INSERT INTO {FILES} SELECT ?, ?, unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
        [raw, relation.source.table, [part.file for part in parts], [part.sql for part in parts]],
    )


def place_in(con: duckdb.DuckDBPyConnection, raw: str, number: int) -> str:
    """'row 7', or 'row 7 of 2.csv' where the rows of a raw table come from several files."""
    known = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [FILES]).fetchall()
    found = con.execute(f"SELECT part, file, rows FROM {FILES} WHERE raw = ? ORDER BY rowid", [raw]) if known else None
    parts = [Part(*row) for row in found.fetchall()] if found else []
    return place_among(con, parts, number) if len(parts) > 1 else f"row {number}"


def place_among(con: duckdb.DuckDBPyConnection, parts: Sequence[Part], number: int) -> str:
    """'row 7 of 2.csv', for given splits 'row 7 of 2.csv in split.test'; rows of a file are counted from 0.

    Args:
        con: the connection.
        parts: the files, in reading order.
        number: of the row, counted from 0 over all of them.
    """
    left = number
    for part in parts:
        count = int(con.execute(f"SELECT count(*) FROM {part.sql}").fetchall()[0][0])
        if left < count:
            split = f" in {part.table}" if part.table.startswith("split.") else ""
            return f"row {left} of {part.file}{split}"
        left -= count
    return f"row {number}"  # a file has changed since
