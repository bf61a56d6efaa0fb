"""How a file is written: Parquet, JSON, or text with a separator, with or without the names of its columns."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from workflows.core.errors import DataError
from workflows.init.headers import header_of, published_names
from workflows.tables.csv_files import DELIMITERS, OTHER_FORMATS, open_bytes
from workflows.tables.formats import has_known_format

__all__ = ["Form", "form_of", "stem_of"]

HEAD_BYTES = 1 << 18
HEAD_LINES = 200
SEPARATORS = ("::", "\t", ",", ";", "|", "\x01", "^")
SHOWN = {"\t": "tab", ",": "comma", ";": "semicolon", "\x01": "the character 0x01"}


class Form(msgspec.Struct, frozen=True):
    """How a file is written.

    Attributes:
        kind: what it is; "Python" has a dict, as Python prints it, in each line.
        names: of the columns of a text.
        separator: of a text.
        has_header: whether the first line of a text holds the names.
        encoding: of a text, as DuckDB calls it.
        escape: of a text, what stands before a quote inside quotes; "" where quotes are characters like others.
        reasons: why the tables of a config cannot be this file; empty where they can.
        guess: how the names of a text without them were found.
    """

    kind: Literal["Parquet", "JSON", "Python", "text"]
    names: tuple[str, ...] = ()
    separator: str = ","
    has_header: bool = True
    encoding: str = "utf-8"
    escape: str = '"'
    reasons: tuple[str, ...] = ()
    guess: str = ""


def stem_of(file: str) -> str:
    """The name of a file without its folder and ends: 'ratings' of ml-1m/ratings.dat.gz."""
    name = Path(file).name
    return name.split(".")[0] or name


def form_of(file: str) -> Form:
    """Look at the beginning of a file.

    Raises:
        DataError: it cannot be read, is empty, or is of a format that is none of a table.
    """
    head = _head(file)
    if head.startswith(b"PAR1"):
        return Form("Parquet", reasons=() if has_known_format(file) else ("its name does not end in .parquet",))
    if kind := next((kind for magic, kind in OTHER_FORMATS.items() if head.startswith(magic)), None):
        raise DataError(
            f"{file} is no table: its content is {kind}; unpack or convert it to CSV, JSON lines or Parquet"
        )
    encoding, text = _decoded(head)
    if not text.strip():
        raise DataError(f"{file} is empty; give a table with rows")
    if "\0" in text:
        raise DataError(f"{file} is no table that can be read: expected Parquet, CSV or JSON lines, got binary data")
    if text.lstrip()[0] in "{[":
        return _of_objects(file, text)
    return _of_text(file, text, encoding)


def _head(file: str) -> bytes:
    try:
        with open_bytes("tables", file) as opened:
            return opened.read(HEAD_BYTES)
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{file} cannot be read ({reason}); correct the path or write the file again") from None


def _decoded(head: bytes) -> tuple[str, str]:
    """The encoding, and the whole lines."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16", head[: len(head) // 2 * 2].decode("utf-16", errors="ignore")
    cut = head if len(head) < HEAD_BYTES else head[: head.rfind(b"\n") + 1] or head
    try:
        return "utf-8", cut.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "latin-1", cut.decode("latin-1")


def _of_objects(file: str, text: str) -> Form:
    first = text.strip().split("\n")[0].rstrip(",")
    if text.lstrip()[0] == "[":
        return Form("JSON", reasons=("it is JSON",))
    try:
        json.loads(first)
    except ValueError:
        pass
    else:
        return Form("JSON", reasons=("it is JSON lines",))
    try:
        if isinstance(ast.literal_eval(first), dict):
            return Form("Python", reasons=("its lines are dicts of Python",))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    if first.strip() == "{" or len(text) >= HEAD_BYTES - 4:
        return Form("JSON", reasons=("it is JSON",))
    raise DataError(f"{file} cannot be read as JSON lines: its first line is {first[:80]!r}; write one object a line")


def _of_text(file: str, text: str, encoding: str) -> Form:
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()][:HEAD_LINES]
    escape = "\\" if re.search(r'[^\\]\\"', text) else '"'
    rows = {separator: _rows(lines, separator, escape) for separator in SEPARATORS}
    widths = {separator: _width(found) for separator, found in rows.items()}
    separator = max(SEPARATORS, key=lambda one: (one == "::" and widths[one] > 1, widths[one]))
    if widths[separator] < 2:
        raise DataError(
            f"{file}: expected columns that a comma, semicolon, tab, | or :: separates, got {lines[0][:80]!r}; give a "
            "table with a user, an item and a time in each row"
        )
    found = [[cell.strip() for cell in row] for row in rows[separator] if len(row) == widths[separator]]
    named = header_of(found)
    names, is_known = (named, True) if named else published_names(Path(file).name, found)
    reasons = []
    if not has_known_format(file):
        reasons.append("its name does not end in .csv or .tsv")
    if separator not in DELIMITERS:
        reasons.append(f"its columns are separated by {SHOWN.get(separator, separator)}")
    if not named:
        reasons.append("it has no line with the names of its columns")
    if encoding != "utf-8":
        reasons.append(f"it is {'Latin-1' if encoding == 'latin-1' else 'UTF-16'}, not UTF-8")
    if escape == "\\":
        reasons.append("its quotes are escaped by \\")
    if separator == "::" or _has_stray_quotes(lines, separator):
        escape = ""
        reasons += [] if separator == "::" else ["quotes stand in the middle of its values"]
    guess = "" if named or is_known else f"its columns have no names, so they were taken to be {', '.join(names)}"
    return Form("text", tuple(names), separator, bool(named), encoding, escape, tuple(reasons), guess)


def _rows(lines: Sequence[str], separator: str, escape: str) -> list[list[str]]:
    if len(separator) > 1:
        return [line.split(separator) for line in lines]
    quoting = {"doublequote": escape == '"', "escapechar": None if escape == '"' else escape}
    try:
        return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, **quoting))  # type: ignore[arg-type]
    except csv.Error:
        return []


def _width(rows: Sequence[Sequence[str]]) -> int:
    """The number of columns that nine of ten lines have; 0 where they disagree."""
    if not rows:
        return 0
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return width if count >= 0.9 * len(rows) else 0


def _has_stray_quotes(lines: Sequence[str], separator: str) -> bool:
    """Whether '"' is a character like others: it stands outside of values in quotes."""
    sign = re.escape(separator)
    whole = re.compile(rf'(?:(?<=^)|(?<={sign}))"(?:[^"]|"")*"(?={sign}|$)')
    return any(line.count('"') % 2 == 0 and '"' in whole.sub("", line) for line in lines)
