"""Find the files of a table and give them to DuckDB: file, folder, glob, list or fsspec URL; Parquet or CSV."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from workflows.core.errors import DataError

if TYPE_CHECKING:
    import duckdb

__all__ = ["Source", "find", "fingerprint_of", "quoted", "scan", "unreadable", "with_text"]

FORMATS = {"parquet": "Parquet", "pq": "Parquet", "csv": "CSV", "tsv": "CSV", "csv.gz": "CSV", "tsv.gz": "CSV"}
HASHED_BELOW_BYTES = 1 << 20


class Source(msgspec.Struct, frozen=True):
    """The files of one table, all of one format, in reading order."""

    table: str
    files: list[str]
    format: str


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def find(table: str, spec: str | Sequence[str]) -> Source:
    """List the files that `spec` names, sorted within each folder and glob.

    Args:
        table: what the table is called in messages (events, items, users).
        spec: file, folder, glob or fsspec URL, or several of them.

    Raises:
        DataError: nothing is there, or the format is unknown or mixed.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    files = [file for one in specs for file in _files(table, one)]
    formats = {_format(table, file) for file in files}
    if len(formats) > 1:
        raise DataError(f"{table}: expected files of one format, got Parquet and CSV in {specs}; name one kind")
    if not files:
        raise DataError(f"{table}: expected at least one path, got an empty list; set data.{table}")
    return Source(table, files, formats.pop())


def scan(con: duckdb.DuckDBPyConnection, source: Source) -> str:
    """The SQL of a table function over the files, in file order.

    Raises:
        DataError: a file is not what its name says, is truncated, or its columns contradict the others.
    """
    import duckdb

    for scheme in sorted({file.split("://")[0] for file in source.files if "://" in file}):
        con.register_filesystem(_with_times(_filesystem(source.table, scheme)))
    paths = ", ".join("'" + file.replace("'", "''") + "'" for file in source.files)
    reader = "read_parquet" if source.format == "Parquet" else "read_csv"
    options = "" if source.format == "Parquet" else ", header = true"
    sql = f"{reader}([{paths}], union_by_name = true{options})"
    try:
        con.execute(f"SELECT * FROM {sql} LIMIT 0")
    except (duckdb.Error, OSError) as error:
        raise unreadable(con, source, error) from None
    return sql


def with_text(sql: str, source: Source, columns: Sequence[str]) -> str:
    """The same scan with columns of CSV files as they are written; Parquet has types of its own."""
    if source.format == "Parquet":
        return sql
    types = ", ".join("'" + column.replace("'", "''") + "': 'VARCHAR'" for column in columns)
    return sql.removesuffix(")") + f", types = {{{types}}})"


def unreadable(con: duckdb.DuckDBPyConnection, source: Source, error: Exception) -> DataError:
    """The error of a failed read, with the file that fails on its own."""
    import duckdb

    reader = "read_parquet" if source.format == "Parquet" else "read_csv"
    for file in source.files:
        try:
            con.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {reader}(?)", [file])
        except (duckdb.Error, OSError) as single:
            return _unreadable(source, file, single)
    return DataError(
        f"{source.table}: the {len(source.files)} files cannot be read as one table ({_reason(error)}); "
        "write them with one schema"
    )


def fingerprint_of(source: Source) -> list[Any]:
    """What identifies the files' content: path, size and time of change, and a hash of small local files."""
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


def _files(table: str, spec: str) -> list[str]:
    if "://" in spec:
        return _remote_files(table, spec)
    path = Path(spec)
    if path.is_dir():
        return _of_known_format(table, spec, sorted(str(file) for file in path.rglob("*") if file.is_file()))
    if path.is_file():
        return [spec]
    if any(mark in spec for mark in "*?["):
        found = sorted(str(file) for file in _glob(path) if file.is_file())
        if found:
            return found
        raise DataError(f"{table}: expected files at {spec}, got no match; correct data.{table}")
    raise DataError(f"{table}: expected a file or folder at {spec}, got nothing there; correct data.{table}")


def _glob(path: Path) -> list[Path]:
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if any(mark in part for mark in "*?["))
    return list(Path(*parts[:first]).glob(str(Path(*parts[first:]))))


def _remote_files(table: str, url: str) -> list[str]:
    scheme = url.split("://")[0]
    system = _filesystem(table, scheme)
    try:
        if any(mark in url for mark in "*?["):
            found = system.glob(url)
        elif system.isdir(url):
            found = system.find(url)
        else:
            found = [url] if system.exists(url) else []
    except OSError as error:
        raise DataError(f"{table}: {url} cannot be listed ({error}); check the URL and its credentials") from None
    if not found:
        raise DataError(f"{table}: expected files at {url}, got nothing there; correct data.{table}")
    urls = sorted(str(system.unstrip_protocol(file)) for file in found)
    return urls if url in urls else _of_known_format(table, url, urls)


def _of_known_format(table: str, spec: str, files: list[str]) -> list[str]:
    known = [
        file for file in files if _extension(file) in FORMATS and not file.rsplit("/", 1)[-1].startswith((".", "_"))
    ]
    if not known:
        raise DataError(f"{table}: expected Parquet or CSV files in {spec}, got none; correct data.{table}")
    return known


def _filesystem(table: str, scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError, OSError) as error:
        raise DataError(
            f"{table}: the URL scheme {scheme}:// cannot be used ({_reason(error)}); install what is missing beside "
            "Cascade, or copy the files"
        ) from None


def _with_times(system: Any) -> Any:
    """DuckDB asks for the time of change of a Parquet file; filesystems that know none, as HTTP's, answer with 1970."""
    from fsspec import AbstractFileSystem

    if type(system).modified is AbstractFileSystem.modified:
        system.modified = lambda path: datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return system


def _extension(file: str) -> str:
    parts = file.rsplit("/", 1)[-1].lower().split(".")
    return ".".join(parts[-2:]) if parts[-1] == "gz" else parts[-1]


def _format(table: str, file: str) -> str:
    try:
        return FORMATS[_extension(file)]
    except KeyError:
        raise DataError(f"{table}: expected a name that ends in {', '.join(FORMATS)}, got {file}") from None


def _stat(table: str, file: str) -> list[Any]:
    if "://" in file:
        info = _filesystem(table, file.split("://")[0]).info(file)
        return [info.get("size"), str(info.get("ETag") or info.get("mtime") or info.get("created"))]
    stat = Path(file).stat()
    small = stat.st_size < HASHED_BELOW_BYTES
    mark = hashlib.sha256(Path(file).read_bytes()).hexdigest() if small else stat.st_mtime_ns
    return [stat.st_size, mark]
