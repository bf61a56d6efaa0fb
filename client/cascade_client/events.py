"""Events as the caller means them, the tensors that they become, and what the server says of each."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from cascade_client.errors import RequestRefused, WrongServer
from cascade_client.failures import EVENTS_MODEL
from cascade_client.request import Inputs
from cascade_client.tensors import NULLS, NUMPY, Tensor, encode_context, to_int, to_text

__all__ = [
    "BATCH",
    "EVENTS_MODEL",
    "KEY",
    "MOST_OF_ONE_USER",
    "Encoded",
    "Event",
    "EventOutcome",
    "encode_events",
    "in_batches",
    "outcomes_of",
]

# The parameter of a request that carries the server's CASCADE_EVENTS_KEY.
KEY = "cascade-events-key"
BATCH = 512
Event = Mapping[str, Any]
STATUSES = {1: "new", 0: "duplicate", -1: "refused"}
IDS = ("user_id", "item_id")
TEXTS = ("label", "event_id", "kind")
# A server knows that many of a user's latest events again, so no more of them are on their way at once.
MOST_OF_ONE_USER = 64
# Beside NULLS, what stands for "not said" of one event of several.
NOT_SAID: Mapping[str, Any] = {**NULLS, "BOOL": False}
DTYPES: Mapping[str, Any] = {**NUMPY, "BOOL": np.bool_}


@dataclass(frozen=True)
class EventOutcome:
    """What became of one event.

    Attributes:
        status: "new", "duplicate" (the server knew its event id already) or "refused".
        reason: why it was refused, a sentence; "" for the others.
        offset: its place in the server's log, or in its user's partition of a topic; -1 for a refused one.
        event_id: under which it was sent; the client gives one where the event has none.
    """

    status: str
    reason: str
    offset: int
    event_id: str


@dataclass(frozen=True)
class Encoded:
    """A batch of events.

    Attributes:
        tensors: what is sent, [n, 1] each.
        places: of those n events in the batch.
        refused: why others are not sent, by place.
        event_ids: of all.
    """

    tensors: list[Tensor]
    places: list[int]
    refused: dict[int, str]
    event_ids: list[str]


def in_batches(events: Sequence[Event], size: int) -> Iterator[list[Event]]:
    """Cut events into requests, each event with an event id.

    Raises:
        RequestRefused: an event is no mapping, or the size no positive number.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise RequestRefused(f"batch must be a whole number above 0, got {size!r}")
    if isinstance(events, (str, bytes, Mapping)) or not hasattr(events, "__iter__"):
        raise RequestRefused(f"events must be a list of mappings, one an event, got {events!r:.80}")
    batch: list[Event] = []
    of_user: Counter[Any] = Counter()
    for event in events:
        if not isinstance(event, Mapping):
            raise RequestRefused(f"an event must be a mapping like {{'user_id': 17, 'item_id': 5}}, got {event!r:.80}")
        user = str(event.get("user_id"))
        if len(batch) == size or of_user[user] == MOST_OF_ONE_USER:
            yield batch
            batch, of_user = [], Counter()
        of_user[user] += 1
        batch.append(event if event.get("event_id") else {**event, "event_id": uuid.uuid4().hex})
    if batch:
        yield batch


def encode_events(events: Sequence[Event], inputs: Inputs) -> Encoded:
    """Turn a batch into tensors; an event with a value that does not fit is refused alone.

    Args:
        events: each with an event id.
        inputs: of the server's model.
    """
    rows: list[dict[str, Any]] = []
    places, refused = [], {}
    for place, event in enumerate(events):
        try:
            rows.append({name: _encoded(name, value, inputs) for name, value in event.items() if value is not None})
            places.append(place)
        except RequestRefused as error:
            refused[place] = str(error)
    used = [name for name in inputs if any(name in row for row in rows)]
    tensors = [_column(name, inputs[name], rows) for name in used]
    return Encoded(tensors, places, refused, [str(event["event_id"]) for event in events])


def outcomes_of(encoded: Encoded, outputs: Mapping[str, np.ndarray]) -> list[EventOutcome]:
    """What became of each event of a batch, in its order.

    Raises:
        WrongServer: the answer is not one of `cascade_events`.
    """
    found = {place: EventOutcome("refused", reason, -1, "") for place, reason in encoded.refused.items()}
    if encoded.places:
        columns = [np.ravel(outputs[name]).tolist() for name in ("status", "reason", "offset") if name in outputs]
        if len(columns) != 3 or any(len(column) != len(encoded.places) for column in columns):
            raise WrongServer(f"the answer to {len(encoded.places)} events cannot be read: it has {sorted(outputs)}")
        for place, status, reason, offset in zip(encoded.places, *columns):
            if status not in STATUSES:
                raise WrongServer(f"the answer to an event cannot be read: its status is {status!r}")
            words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            found[place] = EventOutcome(STATUSES[status], words, int(offset), "")
    return [
        EventOutcome(found[place].status, found[place].reason, found[place].offset, event_id)
        for place, event_id in enumerate(encoded.event_ids)
    ]


def _column(name: str, datatype: str, rows: Sequence[Mapping[str, Any]]) -> Tensor:
    blank = 1.0 if name == "value" else NOT_SAID[datatype]
    array = np.empty((len(rows), 1), DTYPES[datatype])
    for place, row in enumerate(rows):
        array[place, 0] = row.get(name, blank)
    return Tensor(name, datatype, array)


def _encoded(name: str, value: Any, inputs: Inputs) -> Any:
    """A value as its input takes it.

    Raises:
        RequestRefused: there is no such input, or the value does not fit.
    """
    datatype = inputs.get(name)
    if datatype is None:
        raise RequestRefused(f"unknown field '{name}' of an event; the server knows {', '.join(inputs)}")
    if name in IDS:
        return to_text(name, value) if datatype == "BYTES" else to_int(name, datatype, value)
    if name == "at":
        return _instant(value)
    if name == "extra":
        return _json(value)
    if name == "event_id" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value).encode()
    if name in TEXTS:
        return to_text(name, value)
    if datatype == "BOOL":
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise RequestRefused(f"{name} must be true or false, got {value!r:.80}")
    return encode_context(name, [value], datatype).array[0, 0]


def _instant(value: Any) -> bytes:
    """An instant as the server reads it: texts and numbers as they are, a datetime with its zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RequestRefused(f"at must have a zone, got {value!r}; for UTC: value.replace(tzinfo=timezone.utc)")
        return value.isoformat().encode()
    if isinstance(value, (str, bytes)):
        return to_text("at", value)
    if isinstance(value, (float, np.floating, Decimal)) and np.isfinite(float(value)):
        return f"{Decimal(str(value)):f}".encode()
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value).encode()
    raise RequestRefused(f"at must be a text, a datetime with a zone, or a number since 1970, got {value!r:.80}")


def _json(value: Any) -> bytes:
    if isinstance(value, (str, bytes)):
        return to_text("extra", value)
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RequestRefused(f"extra must be what JSON can hold, got {value!r:.80} ({error})") from None
