"""Files as tables that DuckDB reads: one relation a table, nested columns laid flat."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workflows.core import console
from workflows.core.errors import DataError
from workflows.init.flat import Flat, flattened
from workflows.init.forms import Form, form_of, stem_of
from workflows.init.stored import Stored
from workflows.tables.check import columns_of
from workflows.tables.csv_files import open_bytes
from workflows.tables.paths import path_sql, text_sql
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["COPIES", "Opened", "open_tables", "read_error"]

COPIES = "_tables"  # behind the name of a config: the folder of the tables that were written for it

ENDS = re.compile(r".*\.(parquet|pq|csv|tsv|txt|dat|data|item|user|base|json|jsonl|ndjson|inter)(\.gz)?", re.IGNORECASE)
ABOUT = re.compile(r"(readme|license|licence|changelog)\b.*", re.IGNORECASE)
WINDOWS = re.compile(rb"[\x80-\x9f]")  # signs of Windows-1252 where Latin-1 has control characters, as no table does
SIGNS = {place: bytes([place]).decode("windows-1252", "ignore") or chr(place) for place in range(0x80, 0xA0)}
PIECE_BYTES = 1 << 24
CSV_ERROR = re.compile(r"CSV Error on Line: (\d+)\s*\nOriginal Line: (.*)\n(.*)")
COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
JSON_OPTIONS = "maximum_object_size = 268435456, union_by_name = true, map_inference_threshold = -1"


class Opened(msgspec.Struct):
    """One table.

    Attributes:
        name: for the messages; the stem of its file.
        files: one, or several of one form and one stem.
        sql: its rows, as a relation; all columns of a file of text are VARCHAR.
        is_text: whether the types of its texts are still to be found: numbers may stand in them.
        reasons: why a config cannot name it as it is; empty where it can.
        guess: how the names of its columns were found where it has none.
        left: nested columns that were left out.
        is_made: whether a query makes the rows, in no order of their own.
        stored: the table of a warehouse that the file is a sample of.
    """

    name: str
    files: list[str]
    sql: str
    is_text: bool
    reasons: list[str]
    guess: str = ""
    left: list[str] = []
    is_made: bool = False
    stored: Stored | None = None

    @property
    def spec(self) -> str | list[str]:
        """What a config names."""
        return self.files[0] if len(self.files) == 1 else self.files


def open_tables(con: duckdb.DuckDBPyConnection, paths: Sequence[str], scratch: Path) -> list[Opened]:
    """Find the tables in files and folders.

    Args:
        con: the connection that reads.
        paths: files, or folders of them.
        scratch: a folder for files that have to be written anew before DuckDB reads them.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    files = list(dict.fromkeys(itertools.chain.from_iterable(map(_files, paths))))
    if not files:
        raise DataError(f"expected tables in {', '.join(paths)}, got none; name files of Parquet, CSV or JSON lines")
    forms = {file: form_of(file) for file in files}
    return [_open(con, group, forms[group[0]], scratch) for group in _groups(forms)]


def read_error(name: str, error: Exception) -> DataError:
    """The one sentence of a table that DuckDB cannot read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if found := CSV_ERROR.search(str(error)):
        number, text, problem = found.groups()
        if columns := COLUMNS.fullmatch(problem):
            wanted, got = columns.groups()
            problem = f"it has {got} values, and the table has {wanted} columns; put values that hold the separator in"
            problem += " double quotes, or correct the line"
        else:
            problem = f"{problem.rstrip('.')}; correct it"
        return DataError(f"{name} cannot be read: line {number} is {text[:80]!r}: {problem}")
    return DataError(f"{name} cannot be read ({lines[0].rstrip('.:') if lines else type(error).__name__}); repair it")


def _files(path: str) -> Iterable[str]:
    place = Path(path)
    if "://" in path:
        shown = path if "@" not in path else f"{path.partition('://')[0]}://***"
        raise DataError(
            f"{shown}: init looks at files of this machine and at databases behind postgresql://, snowflake:// or "
            "bigquery://; bring a copy of it here"
        )
    if not place.exists():
        raise DataError(f"{path}: expected a table or a folder of tables, got nothing there; correct the path")
    if not place.is_dir():
        return [path]
    found = sorted(str(file) for file in _walk(place) if file.is_file() and not _is_hidden(file, place))
    for file in (file for file in found if not _is_table(file)):
        console.say(f"init: {file} is left out: its name is not that of a table")
    return [file for file in found if _is_table(file)]


def _walk(root: Path) -> Iterator[Path]:
    """The files of a folder and of those below, but for what Cascade has made there."""
    for folder, below, files in os.walk(root):
        place = Path(folder)
        made = {name: what for name in below if (what := _made(place / name))}
        for name, what in sorted(made.items()):
            console.say(f"init: {place / name} is left out: {what}")
        below[:] = [name for name in below if name not in made]
        yield from (place / name for name in files)


def _made(folder: Path) -> str:
    """What Cascade has made of a folder; "" of others."""
    if (folder / "data" / "manifest.json").is_file():
        return "a run of Cascade"
    if (folder / "cascade" / "config.pbtxt").is_file():
        return "a model repository"
    is_log = (folder / "salt").is_file() and (folder / "ready").is_dir()
    if is_log or ((folder / "requests").is_dir() and (folder / "status.json").is_file()):
        return "logged requests"
    if folder.name.endswith(COPIES) and (folder.parent / f"{folder.name.removesuffix(COPIES)}.toml").is_file():
        return f"the copies of {folder.name.removesuffix(COPIES)}.toml"
    return ""


def _is_table(file: str) -> bool:
    name = Path(file).name
    return bool(ENDS.fullmatch(name)) and not ABOUT.match(name)


def _is_hidden(file: Path, root: Path) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in file.relative_to(root).parts)


def _groups(forms: dict[str, Form]) -> list[list[str]]:
    """Files that are parts of one table: of one form, one folder, and one stem but for numbers."""
    groups: dict[object, list[str]] = {}
    for file, form in forms.items():
        stem = re.sub(r"([-_. ]?(part)?[-_]?\d+)+$", "", stem_of(file))
        alone = file if form.kind == "text" and not form.has_header else ""
        key = (str(Path(file).parent), stem or "part", form.kind, form.names, form.separator, alone)
        groups.setdefault(key, []).append(file)
    return list(groups.values())


def _open(con: duckdb.DuckDBPyConnection, files: list[str], form: Form, scratch: Path) -> Opened:
    import duckdb

    sql = _sql(files, form, scratch)
    name = Path(files[0]).name if len(files) == 1 else f"{stem_of(files[0])} ({len(files)} files)"
    _refuse_alike(name, form.names)
    try:
        columns = columns_of(con, sql)
        if form.kind == "JSON" and list(columns) == ["json"] and columns["json"].startswith(("JSON", "MAP")):
            # What has no keys is called so.
            raise DataError(f"{name} is empty: no object in it has a key; give a table with rows")
        flat = flattened(con, sql, columns) if form.kind != "text" or _holds_json(con, sql, columns) else Flat(sql)
        if form.kind in ("JSON", "Python"):
            flat.sql = _without_empty_texts(con, flat.sql)
        if not con.execute(f"SELECT 1 FROM {flat.sql} LIMIT 1").fetchall():
            raise DataError(
                f"{name} is empty: it has columns ({', '.join(columns)}) and no rows; give a table with rows"
            )
    except duckdb.Error as error:
        raise read_error(name, error) from None
    reasons = [*form.reasons, *flat.reasons]
    return Opened(name, files, flat.sql, form.kind != "Parquet", reasons, form.guess, flat.left)


def _refuse_alike(name: str, columns: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for column in columns:
        if (other := first.setdefault(column.casefold(), column)) != column:
            raise DataError(f"{name}: the columns '{other}' and '{column}' differ in case alone; rename one")


def _sql(files: list[str], form: Form, scratch: Path) -> str:
    encoding = form.encoding
    if form.kind == "Python":
        files = [_as_json(file, scratch) for file in files]
    elif encoding == "latin-1" and any(map(_has_windows_signs, files)):
        files, encoding = [_as_utf8(file, scratch) for file in files], "utf-8"
    paths = f"[{', '.join(map(path_sql, files))}]"
    if form.kind == "Parquet":
        return f"read_parquet({paths}, union_by_name = true)"
    if form.kind != "text":
        return f"read_json({paths}, {JSON_OPTIONS})"
    columns = ", ".join(f"{text_sql(name)}: 'VARCHAR'" for name in form.names)
    quotes = f"quote = '\"', escape = {text_sql(form.escape)}" if form.escape else "quote = '', escape = ''"
    packed = ", compression = 'gzip'" if files[0].lower().endswith(".gz") else ""
    # Several threads do not find where rows begin that are filled up.
    alone = ", parallel = false" if form.escape and any(map(_has_lines_in_quotes, files)) else ""
    return (
        f"read_csv({paths}, auto_detect = false, header = {str(form.has_header).lower()}, columns = {{{columns}}}, "
        f"delim = {text_sql(form.separator)}, {quotes}, nullstr = '', comment = '', encoding = '{encoding}', "
        f"null_padding = true{packed}{alone})"
    )


def _without_empty_texts(con: duckdb.DuckDBPyConnection, sql: str) -> str:
    """In JSON a missing value is often an empty text."""
    texts = [quoted(name) for name, kind in columns_of(con, sql).items() if kind == "VARCHAR"]
    replaced = ", ".join(f"nullif({name}, '') AS {name}" for name in texts)
    return f"(SELECT * REPLACE ({replaced}) FROM {sql})" if texts else sql


def _holds_json(con: duckdb.DuckDBPyConnection, sql: str, columns: Iterable[str]) -> bool:
    """Whether a column of a text holds JSON."""
    rows = con.execute(f"SELECT * FROM {sql} LIMIT 20").fetchall()
    return any(re.match(r'\s*(\[\s*)?\{\s*"', str(value or "")) for row in rows for value in row)


def _has_windows_signs(file: str) -> bool:
    with open_bytes("tables", file) as opened:
        return any(WINDOWS.search(piece) for piece in iter(lambda: opened.read(PIECE_BYTES), b""))


def _has_lines_in_quotes(file: str) -> bool:
    """Whether a line has a quote that it does not close, as texts of several lines have."""
    rest = b""
    with open_bytes("tables", file) as opened:
        for piece in iter(lambda: opened.read(PIECE_BYTES), b""):
            if b'"' not in rest + piece:
                rest = b""
                continue
            *lines, rest = (rest + piece).splitlines(keepends=True)
            if any(line.count(b'"') % 2 for line in lines):
                return True
    return False


def _as_utf8(file: str, scratch: Path) -> str:
    """Write a file of Windows-1252, which DuckDB does not read, as UTF-8; its five free places are as in Latin-1."""
    path = scratch / f"{len(list(scratch.iterdir()))}_{stem_of(file)}.csv"
    with open_bytes("tables", file) as opened, path.open("wb") as written:
        for piece in iter(lambda: opened.read(PIECE_BYTES), b""):
            written.write(piece.decode("latin-1").translate(SIGNS).encode("utf-8"))
    return str(path)


def _as_json(file: str, scratch: Path) -> str:
    """Write a file of dicts, as Python prints them, as JSON lines."""
    path = scratch / f"{len(list(scratch.iterdir()))}_{stem_of(file)}.json"
    with open_bytes("tables", file) as lines, path.open("w", encoding="utf-8") as written:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                written.write(json.dumps(ast.literal_eval(line.decode("utf-8"))) + "\n")
            except (ValueError, SyntaxError, TypeError):
                raise DataError(f"{file}: line {number + 1} is no dict of Python, as others are; correct it") from None
    return str(path)
