"""Give the files of a table to DuckDB: Parquet or CSV, local or behind an fsspec URL."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from workflows.core.checksums import digest
from workflows.core.errors import DataError
from workflows.tables.csv_errors import csv_error
from workflows.tables.csv_files import Dialect, csv_sql, dialects_of
from workflows.tables.paths import path_sql
from workflows.tables.trees import filesystem

if TYPE_CHECKING:
    import duckdb

    from workflows.tables.lake.snapshot import Snapshot

__all__ = ["Relation", "Source", "megabytes_of", "open_source", "quoted", "source_fingerprint", "unreadable"]


class Source(msgspec.Struct, frozen=True):
    """The files of one table, all of one format, in reading order.

    Attributes:
        table: what it is called in messages.
        files: paths or URLs; of a Delta or Iceberg table its folder.
        format: "Parquet", "CSV", "Delta" or "Iceberg".
        snapshots: of Delta and Iceberg, what is read of each folder.
    """

    table: str
    files: list[str]
    format: str
    snapshots: list[Snapshot] = []

    @property
    def versions(self) -> list[str]:
        """FOLDER@VERSION of each Delta or Iceberg table."""
        return [f"{file}@{one.version}" for file, one in zip(self.files, self.snapshots, strict=False)]


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Relation(msgspec.Struct, frozen=True):
    """A table as DuckDB reads it.

    Attributes:
        source: its files.
        sql: the rows in file order; columns of Parquet have its types, those of CSV are VARCHAR.
        dialects: of the CSV files that hold anything; empty for Parquet.
    """

    source: Source
    sql: str
    dialects: list[tuple[str, Dialect]] = []


def open_source(con: duckdb.DuckDBPyConnection, source: Source, needed: Sequence[str]) -> Relation:
    """Look at the files' schemas, or at the first lines of CSV files.

    Args:
        con: the connection that reads.
        source: the files.
        needed: columns that the table must have; they tell the delimiter of a CSV file.

    Raises:
        DataError: a file is not what its name says, is truncated, or its columns contradict the others.
    """
    import duckdb

    for scheme in sorted({file.split("://")[0] for file in source.files if "://" in file}):
        con.register_filesystem(_for_duckdb(source.table, scheme))
    if source.format == "CSV":
        dialects = dialects_of(source.table, source.files, needed)
        return Relation(source, csv_sql(dialects), dialects)
    paths = ", ".join(map(path_sql, source.files))
    relation = Relation(source, f"read_parquet([{paths}], union_by_name = true)")
    try:
        con.execute(f"SELECT * FROM {relation.sql} LIMIT 0")
    except (duckdb.Error, OSError) as error:
        raise unreadable(con, relation, error) from None
    return relation


def unreadable(con: duckdb.DuckDBPyConnection, relation: Relation, error: Exception) -> DataError:
    """The error of a failed read, with the file that fails on its own."""
    import duckdb

    source = relation.source
    for file, dialect in relation.dialects:
        if found := csv_error(con, source.table, file, dialect):
            return found
    for file in source.files if source.format == "Parquet" else []:
        try:
            con.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM read_parquet({path_sql(file)})")
        except (duckdb.Error, OSError) as single:
            return _unreadable(source, file, single)
    return DataError(
        f"{source.table}: the {len(source.files)} files cannot be read as one table ({_reason(error)}); "
        "write them with one schema"
    )


def megabytes_of(source: Source) -> float:
    """The size of the files, in millions of bytes."""
    return sum(_size(source.table, file) for file in source.files) / 1e6


def source_fingerprint(source: Source) -> list[Any]:
    """What identifies the files' content: path, size and a hash; of a URL, what its server says instead of a hash.

    Of a Delta or Iceberg table: path, which table it is, and its version.
    """
    if source.snapshots:
        return [[file, one.identity, one.version] for file, one in zip(source.files, source.snapshots, strict=True)]
    return [[file, *_stat(source.table, file)] for file in source.files]


def _unreadable(source: Source, file: str, error: Exception) -> DataError:
    if "support range requests" in str(error):  # fsspec's words for HTTP
        return DataError(
            f"{source.table}: {file} cannot be read as {source.format}: its server sends whole files only, and "
            "Parquet is read from the end; use a server with byte ranges, or copy the file"
        )
    return DataError(
        f"{source.table}: {file} cannot be read as {source.format} ({_reason(error)}); write the file again"
    )


def _reason(error: Exception) -> str:
    printable = "".join(character for character in str(error) if character.isprintable() or character == "\n")
    lines = (line.strip().rstrip(".:") for line in printable.splitlines())
    return next((line for line in lines if line), type(error).__name__)


def _for_duckdb(table: str, scheme: str) -> Any:
    """A filesystem of our own to hand over: names are no globs, and every file has a time of change."""
    system = _with_times(filesystem(table, scheme, alone=True))
    system.glob = lambda path, **options: [path]
    return system


def _with_times(system: Any) -> Any:
    """DuckDB asks for the time of change of a Parquet file; filesystems that know none, as HTTP's, answer with 1970."""
    from fsspec import AbstractFileSystem

    if type(system).modified is AbstractFileSystem.modified:
        system.modified = lambda path: datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return system


def _size(table: str, file: str) -> int:
    if "://" in file:
        return int(filesystem(table, file.split("://")[0]).info(file).get("size") or 0)
    return Path(file).stat().st_size


def _stat(table: str, file: str) -> list[Any]:
    if "://" in file:
        info = filesystem(table, file.split("://")[0]).info(file)
        return [info.get("size"), str(info.get("ETag") or info.get("mtime") or info.get("created"))]
    stat = Path(file).stat()
    # Of large files too: a copy may keep the time of change, and a table of the same size may say something else.
    return [stat.st_size, digest(Path(file))]
