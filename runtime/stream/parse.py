"""A request of events, checked: good events as columns, and for each bad one the sentence that refuses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.errors import BadRequest
from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, KINDS, Events
from runtime.stream.extra import extras
from runtime.stream.fields import inputs
from runtime.stream.keys import MAX_ID_BYTES
from runtime.stream.spec import StreamSpec
from runtime.stream.times import instants

__all__ = ["MOST_LABELS", "PADDING", "EventParser", "Parsed"]

# What pads lists of items, so no item may be called so.
PADDING = -1
# Labels have numbers of one byte.
MOST_LABELS = 256


@dataclass(frozen=True)
class Parsed:
    """A request of events.

    Attributes:
        events: all n; a refused one holds whatever it holds.
        reasons: why an event is refused, by its place.
        is_ahead: bool [n], whether the event claimed to be from the future and was set to its arrival.
    """

    events: Events
    reasons: dict[int, str]
    is_ahead: NDArray[np.bool_]

    def good(self) -> NDArray[np.int64]:
        """Places of the events that are not refused."""
        kept = np.ones(len(self.events), bool)
        kept[list(self.reasons)] = False
        return np.flatnonzero(kept)


class EventParser:
    """Checks requests against a stream's inputs.

    Args:
        spec: of the stream.

    Attributes:
        labels: what `Events.label` points to.
        meanings: kind and label as an event says them, b"" for nothing -> the number of the kind times MOST_LABELS and
            that of the label.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self._inputs = {tensor.name: tensor for tensor in inputs(spec)}
        self.labels = (*spec.labels, "")
        self.meanings = {said: kind * MOST_LABELS + label for said, (kind, label) in _meanings(spec)}

    def parse(self, request: Mapping[str, NDArray], received_at: int | NDArray[np.int64]) -> Parsed:
        """Check one request.

        Args:
            request: input name -> array [n, 1], see `runtime.stream.fields.inputs`; rows are events, and what is not
                known of one is "", the smallest int64 or NaN.
            received_at: when it arrived, nanoseconds since 1970; or int64 [n], when each event did.

        Raises:
            BadRequest: an unknown input, or arrays of other shapes or types.
        """
        columns, n = self._columns(request)
        reasons: dict[int, str] = {}
        _refuse_bad_text(columns, reasons)
        texts = {name: _texts(columns, name, n, reasons) for name in ("at", "label", "kind", "event_id", "extra")}
        kind, label = self._kinds(texts["kind"].tolist(), texts["label"].tolist(), reasons)
        at, wrong = instants(texts["at"].tolist(), received_at)
        is_ahead = at - received_at > self._spec.max_future_s * 1e9
        extra, odd = extras(self._spec, columns, texts["extra"])
        value = self._values(columns, kind, reasons)
        user = self._ids(columns, "user_id", kind != ITEM, kind, reasons)
        item = self._ids(columns, "item_id", kind != FORGET, kind, reasons)
        events = Events(
            kind=kind,
            user=user,
            item=item,
            at=np.where(is_ahead, received_at, at),
            label=label,
            value=value,
            event_id=texts["event_id"],
            extra=extra,
            labels=self.labels,
        )
        return Parsed(events, {**odd, **wrong, **reasons}, is_ahead)

    def _columns(self, request: Mapping[str, NDArray]) -> tuple[dict[str, NDArray], int]:
        """The arrays as columns [n], and n."""
        known = ", ".join(self._inputs)
        if not request:
            raise BadRequest(f"a request holds at least one event; the fields are {known}")
        shapes = {values.shape for values in request.values()}
        n = len(next(iter(request.values())))
        columns = {}
        for name, values in request.items():
            if name not in self._inputs:
                raise BadRequest(f"unknown field {name!r:.100}; the fields are {known}")
            expected = np.dtype(self._inputs[name].numpy_dtype)
            if values.dtype != expected or values.ndim not in (1, 2) or values.size != n or not n:
                raise BadRequest(
                    f"{name} must be {self._inputs[name].dtype} of the shape [{n}, 1], one row an event, got "
                    f"{values.dtype} of the shape {list(values.shape)}; all shapes are {sorted(map(list, shapes))}"
                )
            columns[name] = values.reshape(-1)
        return columns, n

    def _kinds(
        self, kinds: list[bytes], labels: list[bytes], reasons: dict[int, str]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        found = list(map(self.meanings.get, zip(kinds, labels, strict=True)))
        if None in found:
            for place in [place for place, meaning in enumerate(found) if meaning is None]:
                reasons.setdefault(place, self._why_no_meaning(_shown(kinds[place]), _shown(labels[place])))
            found = [meaning or 0 for meaning in found]
        kind, label = np.divmod(np.array(found, np.int64), MOST_LABELS)
        return kind.astype(np.uint8), label.astype(np.uint8)

    def _why_no_meaning(self, kind: str, label: str) -> str:
        labels = ", ".join(dict.fromkeys([*self._spec.labels, KINDS[IMPRESSION]]))
        if kind and kind not in KINDS:
            return f"unknown kind {kind!r}; the kinds are {', '.join(KINDS)}"
        if kind in ("", KINDS[INTERACTION]) or label not in (*self._spec.labels, KINDS[IMPRESSION]):
            return f"unknown label {label!r}; the labels are {labels}"
        return f"an event of the kind '{kind}' has no label, got {label!r}; leave `label` or `kind` out"

    def _ids(
        self, columns: dict[str, NDArray], name: str, needed: NDArray, kind: NDArray, reasons: dict[int, str]
    ) -> NDArray:
        """Raw ids [n]; where the kind has none 0 or b""."""
        is_text = self._inputs[name].dtype == "BYTES"
        nothing = b"" if is_text else 0
        if name not in columns:
            missing = needed
            ids = np.full(len(kind), nothing, object if is_text else np.int64)
        else:
            ids = columns[name]
            missing = needed & (ids == (b"" if is_text else NULL_INT))
        for place in np.flatnonzero(missing).tolist():
            why = f"{name} is missing; an event of the kind '{KINDS[kind[place]]}' needs it"
            if name == "user_id" and self._spec.stock in columns:
                why += f"; to say {self._spec.stock} of an item, give kind = 'item'"
            reasons.setdefault(place, why)
        if name == "item_id" and not is_text:
            for place in np.flatnonzero(needed & (ids == PADDING)).tolist():
                reasons.setdefault(place, "item_id -1 is no item: it fills up lists that are too short")
        return np.where(needed, ids, nothing) if not is_text else _where(needed, ids)

    def _values(self, columns: dict[str, NDArray], kind: NDArray, reasons: dict[int, str]) -> NDArray[np.float32]:
        values = columns.get("value", np.ones(len(kind), np.float32))
        for place in np.flatnonzero(~np.isfinite(values)).tolist():
            reasons.setdefault(place, f"value {values[place]} is no number; give a finite one, or leave it out for 1")
        stock, items = self._spec.stock, kind == ITEM
        if not items.any():
            return values
        if stock in columns:
            return np.where(items, columns[stock], values).astype(np.float32)
        why = f"an event of the kind 'item' must say {stock}, true or false"
        if not stock:
            why = "this product has no stock (data.stock names its column), so it takes no events of the kind 'item'"
        for place in np.flatnonzero(items).tolist():
            reasons.setdefault(place, why)
        return np.where(items, np.float32(np.nan), values)


def _meanings(spec: StreamSpec) -> Iterator[tuple[tuple[bytes, bytes], tuple[int, int]]]:
    """(kind, label) as an event may say them -> the numbers of both."""
    names = [kind.encode() for kind in KINDS]
    unlabelled, shown = len(spec.labels), names[IMPRESSION]
    for said in ((shown, b""), (shown, shown), (b"", shown)):
        yield said, (IMPRESSION, unlabelled)
    for number in (ITEM, FORGET):
        yield (names[number], b""), (number, unlabelled)
    for kind in (b"", names[INTERACTION]):
        yield (kind, b""), (INTERACTION, 0)
        # A label that is called "impression" is one of the labels.
        yield from (((kind, label.encode()), (INTERACTION, place)) for place, label in enumerate(spec.labels))


def _refuse_bad_text(columns: dict[str, NDArray], reasons: dict[int, str]) -> None:
    """Texts must be short UTF-8 without null bytes; looked at one by one only where some are not."""
    for name, values in columns.items():
        if values.dtype != object or name == "extra":
            continue
        texts = values.tolist()
        if _why_no_text(b" ".join(texts), 1 << 62) or max(map(len, texts)) > MAX_ID_BYTES:
            for place, text in enumerate(texts):
                if why := _why_no_text(text, MAX_ID_BYTES):
                    reasons.setdefault(place, f"{name} {_shown(text)!r} {why}")


def _why_no_text(text: bytes, limit: int) -> str:
    """What is wrong with a text; "" for nothing."""
    if len(text) > limit:
        return f"is {len(text)} bytes long; texts are at most {limit} bytes"
    if b"\0" in text:
        return "holds a null byte; texts have none"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return ""


def _texts(columns: dict[str, NDArray], name: str, n: int, reasons: dict[int, str]) -> NDArray[np.object_]:
    """A column of bytes; b"" where it is absent, or the event is refused already."""
    if name not in columns:
        return np.full(n, b"", object)
    texts = columns[name]
    if reasons:
        texts = texts.copy()
        texts[list(reasons)] = b""
    return texts


def _where(needed: NDArray, ids: NDArray) -> NDArray:
    kept = np.full(len(ids), b"", object)
    kept[needed] = ids[needed]
    return kept


def _shown(text: bytes) -> str:
    """A text for a sentence, cut."""
    return text[:100].decode("utf-8", "backslashreplace")
