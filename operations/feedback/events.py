"""Events of feedback as they come: from files, and from the log of live events of a served chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ensemble.stream.event_files import STDIN, Row, read_rows
from ensemble.stream.folder import find_events
from runtime.encoders import NULL_INT
from runtime.errors import BadRequest
from runtime.stream.events import IMPRESSION, INTERACTION
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import Batch, log_id
from runtime.stream.times import instant
from workflows.core import console
from workflows.core.errors import ArtefactError, DataError
from workflows.stream.history import first_event, read_events

__all__ = ["CLICK", "SHOWN", "Cursor", "Event", "Refused", "read_file", "read_stream"]

# The label of an event that says none, and the one by which a client reports what was seen.
CLICK, SHOWN = "click", "impression"
FIELDS: Mapping[str, str] = {
    "request_id": "BYTES",
    "position": "INT32",
    "user_id": "BYTES",
    "item_id": "BYTES",
    "timestamp": "BYTES",
    "at": "BYTES",
    "label": "BYTES",
    "value": "FP32",
    "event_id": "BYTES",
}
MOST_POSITIONS = 1 << 15


class Event(NamedTuple):
    """An event, with the raw id of its user: in memory alone.

    Attributes:
        key: 16 bytes; events with the same one are one.
        request_id: of the slate; "" where it is not said.
        position: of the user in the request; -1 where it is not said.
        user: raw id as text; "" where it is not said.
        item: raw id as text.
        at: nanoseconds since 1970.
        label: what the user did, or SHOWN.
        value: of it.
    """

    key: bytes
    request_id: str
    position: int
    user: str
    item: str
    at: int
    label: str
    value: float


class Refused(NamedTuple):
    """A row that is no event: its line, and why."""

    line: int
    why: str


class Cursor(NamedTuple):
    """How far a log of live events has been read: its id, and the first offset that has not been."""

    log: str
    offset: int


def read_file(path: Path) -> Iterator[Event | Refused]:
    """The events of a Parquet, CSV or NDJSON file.

    Raises:
        DataError: it is no such file, or cannot be read.
    """
    if path != STDIN and not path.exists():
        raise DataError(f"{path} is not there; give a file of events, or the folder of live events of a served chain")
    for row in read_rows(path, FIELDS, what="feedback"):
        try:
            yield _event(row)
        except (BadRequest, ValueError) as error:
            yield Refused(row.line, str(error))


def read_stream(path: Path, known: Mapping[str, int]) -> Iterator[tuple[list[Event], Cursor]]:
    """The interactions and impressions of a log of live events that are new, in parts.

    Args:
        path: the folder of live events, or a run or published repository whose they are.
        known: id of a log -> the first offset that has not been read.

    Raises:
        ArtefactError: there is no such log, or it cannot be read.
    """
    folder = find_events(path)
    try:
        name = log_id(folder)
        first = first_event(folder)
        start = max(known.get(name, first), first)
        if start > known.get(name, start):
            console.say(f"feedback: events {known[name]} to {first - 1} of {folder} were removed before they were read")
        for batch in read_events(folder, start):
            yield _events_of(batch, name), Cursor(name, batch.next_offset)
    except LogError as error:
        raise ArtefactError(str(error)) from error


def _event(row: Row) -> Event:
    """The event of a row.

    Raises:
        ValueError, BadRequest: it is none, and why.
    """
    if row.problem:
        raise ValueError(row.problem)
    said = row.event
    item, request_id, user = (_text(said, name) for name in ("item_id", "request_id", "user_id"))
    if not item:
        raise ValueError("item_id is missing; feedback is of an item")
    if not request_id and not user:
        raise ValueError("neither request_id nor user_id is there; one of them says whose slate it is of")
    time = _text(said, "timestamp") or _text(said, "at")
    if not time:
        raise ValueError("timestamp is missing; give ISO 8601 with a zone, or a number of s, ms, us or ns since 1970")
    at, label = instant(time.encode()), _text(said, "label") or CLICK
    position, value = _position(said.get("position")), _value(said.get("value"))
    event_id = _text(said, "event_id")
    key = _key("id", event_id) if event_id else _key("said", request_id, position, user, item, at, label, value)
    return Event(key, request_id, position, user, item, at, label, value)


def _key(*said: object) -> bytes:
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).digest()


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be a text or a number, got {value!r:.60}")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{name} must be a text or a whole number, got {value!r}")
        value = int(value)
    return str(value)


def _position(value: Any) -> int:
    if value is None:
        return -1
    try:
        position = int(value)
    except (TypeError, ValueError):
        position = -1
    if not 0 <= position < MOST_POSITIONS or position != float(value):
        raise ValueError(f"position must be the place of the user in the request, 0 the first, got {value!r:.60}")
    return position


def _value(value: Any) -> float:
    try:
        number = 1.0 if value is None else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise ValueError(f"value must be a finite number, got {value!r:.60}")
    return number


def _events_of(batch: Batch, name: str) -> list[Event]:
    """What users did with items, and were shown; request_id and position are looked for in the extra fields."""
    events, found = batch.events, []
    columns = (events.kind, events.user, events.item, events.at, events.label, events.value, events.event_id)
    rows = zip(*(column.tolist() for column in columns), events.extra.tolist(), batch.offsets.tolist(), strict=True)
    for kind, user, item, at, label, value, event_id, extra, offset in rows:
        if kind not in (INTERACTION, IMPRESSION) or user == NULL_INT:
            continue
        request_id, position = _request_of(extra)
        key = _key("id", event_id.decode("utf-8", "replace")) if event_id != b"" else _key("offset", name, offset)
        what = SHOWN if kind == IMPRESSION else events.labels[label]
        found.append(Event(key, request_id, position, _shown(user), _shown(item), at, what, float(value)))
    return found


def _request_of(extra: bytes) -> tuple[str, int]:
    """Request id and position that a client has sent along; neither where they are of no use."""
    if b"request_id" not in extra:
        return "", -1
    said = json.loads(extra)
    try:
        return _text(said, "request_id"), _position(said.get("position"))
    except ValueError:
        return "", -1


def _shown(value: int | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
