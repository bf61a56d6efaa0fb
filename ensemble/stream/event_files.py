"""Files of events, row by row: NDJSON, CSV and Parquet, each value as its input of the server takes it."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from workflows.core import console
from workflows.core.errors import DataError

__all__ = ["STDIN", "Row", "fingerprint", "read_rows"]

STDIN = Path("-")
READERS = {".ndjson": "json", ".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
SAMPLE_BYTES = 1 << 20
READ_AT_ONCE = 4096
WORDS = {"true": True, "false": False, "1": True, "0": False}


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        line: where it is, counted from 1; of a CSV file the line, its head included.
        event: what it says; empty where it cannot be read.
        problem: why it cannot be read.
    """

    line: int
    event: dict[str, Any]
    problem: str = ""


def fingerprint(path: Path) -> str:
    """Of a file's size, beginning and end.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            found = hashlib.sha256(str(size).encode())
            for start in (0, max(size - SAMPLE_BYTES, 0)):
                file.seek(start)
                found.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a file of events, or - for NDJSON") from None
    return found.hexdigest()[:16]


def read_rows(path: Path, inputs: Mapping[str, str], skip: int = 0, what: str = "events send") -> Iterator[Row]:
    """The rows of a file from one on; what a table has beside the server's fields is left out, and said once.

    Args:
        path: of the file; its suffix says what it is. "-" is NDJSON from standard input.
        inputs: datatype by field.
        skip: rows that are not wanted.
        what: the command, for what it says.

    Raises:
        DataError: it is no such file, or cannot be read.
    """
    if path == STDIN:
        yield from islice(_json_rows(sys.stdin.buffer), skip, None)
        return
    kind = READERS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path} is no file of events: expected {', '.join(READERS)}, or - for NDJSON from a pipe")
    try:
        if kind == "parquet":
            yield from _parquet_rows(path, inputs, skip, what)
        elif kind == "csv":
            with path.open(newline="", encoding="utf-8-sig") as text:
                yield from islice(_csv_rows(path, text, inputs, what), skip, None)
        else:
            with path.open("rb") as file:
                yield from islice(_json_rows(file), skip, None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def _json_rows(file: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(number, {}, f"it is no JSON ({error})")
            continue
        if isinstance(event, dict):
            yield Row(number, event)
        else:
            yield Row(number, {}, 'it is no JSON object like {"user_id": 17, "item_id": 5}')


def _csv_rows(path: Path, text: IO[str], inputs: Mapping[str, str], what: str) -> Iterator[Row]:
    reader = csv.reader(text)
    names = next(reader, [])
    known = _known(path, names, inputs, what)
    for values in reader:
        if not values:
            continue
        if len(values) != len(names):
            yield Row(reader.line_num, {}, f"it has {len(values)} columns, its head has {len(names)}")
            continue
        cells = dict(zip(names, values, strict=True))
        event = {name: _typed(cells[name], inputs[name]) for name in known if cells[name] != ""}
        yield Row(reader.line_num, event)


def _typed(cell: str, datatype: str) -> Any:
    """A cell as its datatype; as text where it is none, which the client then refuses by name."""
    if datatype == "BOOL":
        return WORDS.get(cell.strip().lower(), cell)
    if datatype == "BYTES":
        return cell
    try:
        return int(cell) if datatype.startswith("INT") else float(cell)
    except ValueError:
        return cell


def _parquet_rows(path: Path, inputs: Mapping[str, str], skip: int, what: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = _known(path, file.schema_arrow.names, inputs, what)
            number = 0
            for batch in file.iter_batches(READ_AT_ONCE, columns=known):
                if number + len(batch) > skip:
                    columns = {name: _column(batch.column(name)) for name in known}
                    for place in range(max(skip - number, 0), len(batch)):
                        event = {name: values[place] for name, values in columns.items()}
                        yield Row(number + place + 1, {k: v for k, v in event.items() if v is not None})
                number += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def _column(values: Any) -> list[Any]:
    """Python values; instants with a zone are nanoseconds since 1970."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        values = values.cast(pa.timestamp("ns", values.type.tz)).cast(pa.int64())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.string())  # refused by the server, which asks for a zone
    found: list[Any] = values.to_pylist()
    return found


def _known(path: Path, names: list[str], inputs: Mapping[str, str], what: str) -> list[str]:
    others = [name for name in names if name not in inputs]
    if others:
        console.say(f"{what}: {path} also has {', '.join(others)}, which no event has; left out")
    known = [name for name in names if name in inputs]
    if not known:
        raise DataError(f"{path} has no column of an event; they are {', '.join(inputs)}")
    return known
