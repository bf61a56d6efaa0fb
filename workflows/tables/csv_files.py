"""CSV files for DuckDB: the dialect is read from the first line alone, every value comes as it is written."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from workflows.core.errors import DataError
from workflows.tables.paths import path_sql, text_sql
from workflows.tables.trees import filesystem

__all__ = ["DELIMITERS", "OTHER_FORMATS", "Dialect", "csv_sql", "dialect_of", "dialects_of", "open_bytes"]

DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 18  # of a file, in which its first line ends
OTHER_FORMATS = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip (name it .csv.gz)",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip or Excel",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\xd0\xcf\x11\xe0": "Excel",
}


class Dialect(msgspec.Struct, frozen=True):
    """What the first line of a file says.

    Attributes:
        names: of the columns, without blanks around them.
        delimiter: one of DELIMITERS.
        skip: empty lines before the first line.
    """

    names: tuple[str, ...]
    delimiter: str
    skip: int = 0


def csv_sql(files: Sequence[tuple[str, Dialect]]) -> str:
    """SQL of a relation with the rows of the files in order, every column VARCHAR, united by name.

    Nothing is guessed: quotes are '"', doubled inside a value; '#' and "'" are characters like others; an empty value
    is null.

    Args:
        files: paths or URLs with their dialects.
    """
    groups = itertools.groupby(files, key=lambda pair: pair[1])
    scans = [_scan([file for file, _ in group], dialect) for dialect, group in groups]
    return scans[0] if len(scans) == 1 else "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {s}" for s in scans) + ")"


def dialects_of(table: str, files: Sequence[str], needed: Sequence[str]) -> list[tuple[str, Dialect]]:
    """The files that hold anything, each with its dialect.

    Args:
        table: name for the messages.
        files: paths or URLs.
        needed: columns that every file of the table must have.

    Raises:
        DataError: a file is no CSV in UTF-8, names a column twice, or lacks a needed column that others have.
    """
    found = [(file, dialect) for file in files if (dialect := dialect_of(table, file, needed)).names]
    if not found:
        raise DataError(f"{table}: {files[0]} is empty; its first line must hold the names of the columns")
    for column in needed:
        lacking = [file for file, dialect in found if column not in dialect.names]
        if lacking and len(lacking) < len(found):
            raise DataError(
                f"{table}: {lacking[0]} has no column '{column}' in its first line, which must hold the names of the "
                f"columns in every file; got {', '.join(dict(found)[lacking[0]].names)}"
            )
    return found


def dialect_of(table: str, file: str, needed: Sequence[str]) -> Dialect:
    """Read the first line. The delimiter is the one that gives the most needed columns, then the most columns.

    Raises:
        DataError: it cannot be read as UTF-8 text, or names a column twice.
    """
    head = _head(table, file)
    lines = head.split(b"\n")
    skip = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    try:
        text = b"\n".join(lines[skip:]).decode("utf-8", errors="surrogateescape")
        records = [(_first_record(text, delimiter), delimiter) for delimiter in DELIMITERS]
    except csv.Error as error:
        raise DataError(f"{table}: the first line of {file} cannot be read ({error}); write the file again") from None
    names, delimiter = max(records, key=lambda found: (len(set(needed) & set(found[0])), len(found[0])))
    if any("\udc80" <= character <= "\udcff" for character in "".join(names)):
        raise DataError(f"{table}: the first line of {file} is not UTF-8; save the file as UTF-8")
    names = [name or f"column{place}" for place, name in enumerate(names)]
    counts = Counter(name.casefold() for name in names)
    if twice := next((name for name in names if counts[name.casefold()] > 1), None):
        raise DataError(
            f"{table}: expected every column once in the first line of {file}, got '{twice}' twice (upper and lower "
            "case count as one); rename one of the two"
        )
    return Dialect(tuple(names), delimiter, skip)


def open_bytes(table: str, file: str) -> IO[bytes]:
    """Open a file or URL of a table, unpacked if its name ends in .gz."""
    is_packed = file.lower().endswith(".gz")
    if "://" in file:
        opened = filesystem(table, file.split("://")[0]).open(file, "rb")
        return cast(IO[bytes], gzip.open(opened, "rb") if is_packed else opened)
    return cast(IO[bytes], gzip.open(file, "rb")) if is_packed else Path(file).open("rb")


def _first_record(text: str, delimiter: str) -> list[str]:
    reader: Any = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [name.strip() for name in next(reader, [])]


def _head(table: str, file: str) -> bytes:
    try:
        with open_bytes(table, file) as opened:
            head = opened.read(HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise DataError(f"{table}: {file} cannot be read as CSV ({error}); write the file again") from None
    if kind := next((kind for magic, kind in OTHER_FORMATS.items() if head.startswith(magic)), None):
        raise DataError(f"{table}: {file} cannot be read as CSV: its content is {kind}; unpack or convert it")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:4]:
        raise DataError(
            f"{table}: {file} is encoded in UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8 {file}"
        )
    return head.removeprefix(b"\xef\xbb\xbf")


def _scan(files: list[str], dialect: Dialect) -> str:
    columns = ", ".join(f"{text_sql(name)}: 'VARCHAR'" for name in dialect.names)
    options = f", skip = {dialect.skip}" if dialect.skip else ""
    return (
        f"read_csv([{', '.join(map(path_sql, files))}], auto_detect = false, header = true, columns = {{{columns}}}, "
        f"""delim = {text_sql(dialect.delimiter)}, quote = '"', escape = '"', nullstr = '', comment = '', """
        f"hive_types_autocast = false{options})"
    )
