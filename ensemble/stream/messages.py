"""Messages of a topic as events: JSON objects with the fields of `cascade_events`, checked as that model does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_client.events import encode_events
from ensemble.stream.plain import PlainReader
from runtime.errors import BadRequest
from runtime.stream.events import Events
from runtime.stream.fields import inputs
from runtime.stream.parse import EventParser
from runtime.stream.spec import StreamSpec

__all__ = ["Message", "MessageReader", "Read", "plain_columns"]

SHOWN = 500
# So many are read one by one because of an odd one among them.
FEW = 32
NS_PER_MS = 1_000_000
USERLESS = "item"
# Fields whose values of these types are taken as they are; ids of text here, those that are integers as integers alone.
ID: set[type] = {str}
TEXT: set[type] = {str, NoneType}
NUMBERED: set[type] = {str, int, NoneType}
PLAIN: Mapping[str, set[type]] = {
    "user_id": ID,
    "item_id": ID,
    "label": TEXT,
    "kind": TEXT,
    "event_id": NUMBERED,
    "at": NUMBERED,
    "value": {int, float, NoneType},
}
NUMPY = {"INT64": np.int64, "FP32": np.float32}


class Message(NamedTuple):
    """One message of a partition.

    Attributes:
        offset: in the partition.
        at_ms: when it came, milliseconds since 1970, as the topic has it.
        key: which says the partition.
        value: what it holds.
    """

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


class Read(NamedTuple):
    """What messages say.

    Attributes:
        events: the good ones, in order.
        offsets: int64 [n], of these.
        rejected: a line of JSON for each of the others.
    """

    events: Events
    offsets: NDArray[np.int64]
    rejected: list[str]


class MessageReader:
    """Reads messages of one stream. The same messages always say the same, whenever they are read.

    Args:
        spec: of the stream.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._parser = EventParser(spec)
        self._plain = PlainReader(spec, self._parser)
        self._inputs = {tensor.name: tensor.dtype for tensor in inputs(spec)}

    def read(self, partition: int, messages: Sequence[Message]) -> Read | list[str]:
        """The events of some messages of one partition; where none is good, only the lines of those refused."""
        if (plain := self._read_plain(messages)) is not None:
            return plain
        if len(messages) > FEW:
            # An odd one is to slow down few others.
            middle = len(messages) // 2
            return _joined([self.read(partition, messages[:middle]), self.read(partition, messages[middle:])])
        return self._read_each(partition, messages)

    def _read_each(self, partition: int, messages: Sequence[Message]) -> Read | list[str]:
        """The same, with the reason of each that is refused."""
        reasons: dict[int, str] = {}
        said: list[dict[str, Any]] = []
        places: list[int] = []
        for place, message in enumerate(messages):
            event, why = _event(message)
            if why:
                reasons[place] = why
            else:
                said.append(event)
                places.append(place)
        if (columns := plain_columns(said, self._inputs)) is not None:
            kept = np.array(places, np.int64)
        else:
            encoded = encode_events(said, self._inputs)
            reasons |= {places[place]: why for place, why in encoded.refused.items()}
            kept = np.array([places[place] for place in encoded.places], np.int64)
            columns = {tensor.name: tensor.array for tensor in encoded.tensors}
        if len(kept):
            arrived = np.array([messages[place].at_ms for place in kept.tolist()], np.int64) * NS_PER_MS
            try:
                parsed = self._parser.parse(columns, arrived)
            except BadRequest as error:
                # What cannot be said of one field alone is wrong with every event.
                reasons |= dict.fromkeys(kept.tolist(), str(error))
                return [_line(partition, messages[place], why) for place, why in sorted(reasons.items())]
            reasons |= {int(kept[place]): why for place, why in parsed.reasons.items()}
            good = parsed.good()
            events = parsed.events.take(good)
            offsets = np.array([messages[place].offset for place in kept[good].tolist()], np.int64)
        rejected = [_line(partition, messages[place], why) for place, why in sorted(reasons.items())]
        return Read(events, offsets, rejected) if len(kept) and len(offsets) else rejected

    def _read_plain(self, messages: Sequence[Message]) -> Read | None:
        if not messages:
            return None
        offsets, at_ms, keys, values = zip(*messages, strict=True)
        times = np.array(at_ms, np.int64)
        if (times < 0).any():
            return None
        events = self._plain.read(keys, values, times * NS_PER_MS)
        return None if events is None else Read(events, np.array(offsets, np.int64), [])


def _joined(parts: Sequence[Read | list[str]]) -> Read | list[str]:
    rejected = [line for part in parts for line in (part.rejected if isinstance(part, Read) else part)]
    read = [part for part in parts if isinstance(part, Read)]
    if not read:
        return rejected
    return Read(Events.join([part.events for part in read]), np.concatenate([part.offsets for part in read]), rejected)


def plain_columns(events: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> dict[str, NDArray] | None:
    """What `encode_events` makes of events that say nothing out of the ordinary, many times faster.

    Returns:
        Columns [n, 1] by name; None where an event has to be looked at for itself.
    """
    names = set().union(*events)
    if not names or not names <= PLAIN.keys() or not names <= inputs.keys():
        return None
    columns = {}
    try:
        for name in (name for name in inputs if name in names):
            values = [event.get(name) for event in events]
            kinds = set(map(type, values))
            is_text = inputs[name] == "BYTES"
            if kinds == {NoneType}:
                continue
            if not kinds <= (PLAIN[name] if is_text or name == "value" else {int}):
                return None
            column = np.empty((len(values), 1), object if is_text else NUMPY[inputs[name]])
            if is_text:
                column[:, 0] = [b"" if value is None else str(value).encode() for value in values]
            elif name == "value":
                with np.errstate(over="ignore"):  # what is too large is no number, and refused as such
                    column[:, 0] = [1.0 if value is None else value for value in values]
            else:
                column[:, 0] = values
            columns[name] = column
    except (OverflowError, UnicodeEncodeError):
        return None
    return columns or None


def _event(message: Message) -> tuple[dict[str, Any], str]:
    """What a message says, or why it says nothing."""
    if message.value is None:
        return {}, "it is empty; an event is a JSON object"
    if message.at_ms < 0:
        return {}, "the topic gives it no time, which is its arrival; use a broker and a producer that do"
    try:
        event = json.loads(message.value)
    except (ValueError, RecursionError) as error:
        return {}, f"it is no JSON ({error})"
    if not isinstance(event, dict):
        return {}, 'it is no JSON object like {"user_id": 17, "item_id": 5}'
    user = event.get("user_id")
    if user is not None and event.get("kind") != USERLESS and message.key != str(user).encode("utf-8", "surrogatepass"):
        said = "none" if message.key is None else repr(message.key[:60].decode("utf-8", "backslashreplace"))
        return {}, (
            f"its key is {said} and its user_id {str(user)!r:.60}; the key must be the user_id, so that all events of "
            "a user are in one partition"
        )
    if not event:
        return {}, "it names nothing; an event has at least a user_id and an item_id"
    event.setdefault("event_id", None)
    return event, ""


def _line(partition: int, message: Message, why: str) -> str:
    arrived = datetime.fromtimestamp(message.at_ms / 1000, timezone.utc).isoformat().replace("+00:00", "Z")
    said = (message.value or b"")[:SHOWN].decode("utf-8", "backslashreplace")
    place = {"partition": partition, "offset": message.offset}
    return json.dumps({"received_at": arrived, "reason": why, **place, "event": said})
