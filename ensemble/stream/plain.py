"""Messages that say nothing out of the ordinary as events, many at once; whatever is odd is left to those who explain.

What is read here is exactly what `ensemble.stream.messages` makes of the same messages one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.stream.events import IMPRESSION, Events
from runtime.stream.keys import MAX_ID_BYTES
from runtime.stream.parse import MOST_LABELS, PADDING, EventParser
from runtime.stream.spec import StreamSpec
from runtime.stream.times import instants, of_whole_numbers

__all__ = ["PlainReader"]

NUMBERS, MAYBE_TEXT, NUMBERED = {int}, {str, NoneType}, {str, int, NoneType}
VALUES = {int, float, NoneType}
# The longest text that cannot be too long as UTF-8.
SHORT = MAX_ID_BYTES // 4


class _Said(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message, each field as JSON has it."""

    user_id: Any = None
    item_id: Any = None
    label: Any = None
    kind: Any = None
    at: Any = None
    value: Any = None
    event_id: Any = None


class PlainReader:
    """Reads messages that are all of what users did, as most are.

    Args:
        spec: of the stream.
        parser: of the same stream.
    """

    def __init__(self, spec: StreamSpec, parser: EventParser) -> None:
        self._spec, self._labels = spec, parser.labels
        self._is_text = (spec.user_id_dtype == "BYTES", spec.item_id_dtype == "BYTES")
        self._decode = msgspec.json.Decoder(_Said).decode
        said = {(kind.decode(), label.decode()): meant for (kind, label), meant in parser.meanings.items()}
        self._meanings = {
            (kind or spelled, label or spelled): meant
            for (kind, label), meant in said.items()
            for spelled in ("", None)
            if meant < (IMPRESSION + 1) * MOST_LABELS
        }
        self._meanings |= {key: meant for key, meant in said.items() if meant < (IMPRESSION + 1) * MOST_LABELS}

    def read(self, keys: Sequence[bytes | None], values: Sequence[Any], arrived: NDArray[np.int64]) -> Events | None:
        """The events of messages.

        Args:
            keys: n, of the messages.
            values: n.
            arrived: int64 [n], nanoseconds since 1970.

        Returns:
            n events; None where a message has to be looked at for itself.
        """
        decode = self._decode
        try:
            said = [decode(value) for value in values]
            meant = [self._meanings[event.kind, event.label] for event in said]
            users = [event.user_id for event in said]
            # Numbers hold no line breaks, so that equal lines are equal keys.
            if not self._is_text[0] and b"\n".join(keys) != "\n".join(map(str, users)).encode():  # type: ignore[arg-type]
                return None
            columns = (
                self._ids(users, self._is_text[0]),
                self._ids([event.item_id for event in said], self._is_text[1]),
                self._instants([event.at for event in said], arrived),
                _values([event.value for event in said]),
                _event_ids([event.event_id for event in said]),
            )
        except (msgspec.MsgspecError, ValueError, OverflowError, KeyError, TypeError):
            return None
        if any(column is None for column in columns):
            return None
        user, item, at, value, event_id = columns
        if self._is_text[0] and list(keys) != np.asarray(user).tolist():
            return None
        if not self._is_text[1] and PADDING in np.asarray(item):
            return None
        kind, label = (each.astype(np.uint8) for each in np.divmod(np.array(meant, np.int64), MOST_LABELS))
        nothing = np.full(len(said), b"", object)
        return Events(kind, user, item, at, label, value, event_id, nothing, self._labels)  # type: ignore[arg-type]

    def _ids(self, ids: list[Any], is_text: bool) -> NDArray | None:
        if is_text:
            return _texts(ids) if set(map(type, ids)) == {str} and "" not in ids else None
        if set(map(type, ids)) != NUMBERS:
            return None
        column = np.array(ids, np.int64)
        return None if (column == NULL_INT).any() else column

    def _instants(self, at: list[Any], arrived: NDArray[np.int64]) -> NDArray[np.int64] | None:
        kinds = set(map(type, at))
        found: NDArray[np.int64] | None
        if kinds == NUMBERS:
            found = of_whole_numbers(np.array(at, np.int64))
        elif kinds <= NUMBERED:
            texts = [b"" if value is None else str(value).encode() for value in at]
            found, wrong = instants(texts, arrived)
            found = None if wrong or "\0" in "".join(map(str, at)) or max(map(len, texts)) > SHORT else found
        else:
            return None
        return found if found is None else np.where(found - arrived > self._spec.max_future_s * 1e9, arrived, found)


def _values(values: list[Any]) -> NDArray[np.float32] | None:
    kinds = set(map(type, values))
    if kinds == {NoneType}:
        return np.ones(len(values), np.float32)
    if not kinds <= VALUES:
        return None
    column = np.empty(len(values), np.float32)
    with np.errstate(over="ignore"):
        column[:] = [1.0 if value is None else value for value in values]
    return column if np.isfinite(column).all() else None


def _event_ids(ids: list[Any]) -> NDArray[np.object_] | None:
    kinds = set(map(type, ids))
    if kinds == {str}:
        return _texts(ids)
    return _texts(["" if value is None else str(value) for value in ids]) if kinds <= NUMBERED else None


def _texts(texts: list[str]) -> NDArray[np.object_] | None:
    """Texts as an event has them; None where one is too long or holds a null byte."""
    joined = "".join(texts)
    if "\0" in joined or max(map(len, texts)) > SHORT:
        return None
    column = np.empty(len(texts), object)
    column[:] = list(map(str.encode, texts))
    return column
