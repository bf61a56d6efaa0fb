"""A frame: the events of one commit with their offsets, as checked bytes.

    header (48 bytes) | at | value | kind | label | places | user | item | event_id | extra | labels

The header has a checksum of its own, so that the end of a frame is known where only its columns are damaged. A frame
may hold fewer events than offsets, when those of a forgotten user were taken out: `places` then holds the place of each
event among the offsets. A frame without offsets seals a segment: nothing follows it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.frames import Framing
from runtime.frames import is_whole as is_whole_body
from runtime.stream.events import Events
from runtime.stream.log.columns import pack_column, pack_names, unpack_column, unpack_names
from runtime.stream.log.errors import LogError

__all__ = ["FRAMING", "HEADER_BYTES", "Frame", "Header", "decode", "decode_header", "encode", "is_whole", "seal"]

FORMAT_VERSION = 1
# The fields of Header behind its checksum and length.
FRAMING = Framing(b"\xffEV\xfe", "IIqqBBBBBBH")
HEADER_BYTES = FRAMING.header_bytes


@dataclass(frozen=True)
class Frame:
    """The events of one commit.

    Attributes:
        first_offset, next_offset: the offsets of the commit: from the first up to, and without, the next.
        received_at: when they came, nanoseconds since 1970.
        offsets: int64 [n], ascending, of each event.
        events: n of them; as many as offsets, but for those of users who are forgotten.
    """

    first_offset: int
    next_offset: int
    received_at: int
    offsets: NDArray[np.int64]
    events: Events

    @classmethod
    def of(cls, events: Events, first_offset: int, received_at: int) -> Frame:
        """A frame whose events have offsets without a gap."""
        offsets = np.arange(first_offset, first_offset + len(events))
        return cls(first_offset, first_offset + len(events), received_at, offsets, events)

    def take(self, is_kept: NDArray[np.bool_]) -> Frame:
        """The same offsets with some of the events; bool [n]."""
        offsets, events = self.offsets[is_kept], self.events.take(is_kept)
        return Frame(self.first_offset, self.next_offset, self.received_at, offsets, events)

    def since(self, start: int) -> Frame:
        """The part from an offset on."""
        if start <= self.first_offset:
            return self
        rows = slice(int(np.searchsorted(self.offsets, start)), None)
        return Frame(start, self.next_offset, self.received_at, self.offsets[rows], self.events.take(rows))

    def until(self, stop: int) -> Frame:
        """The part before an offset."""
        if stop >= self.next_offset:
            return self
        rows = slice(int(np.searchsorted(self.offsets, stop)))
        return Frame(self.first_offset, stop, self.received_at, self.offsets[rows], self.events.take(rows))


class Header(NamedTuple):
    """What stands before the columns.

    Attributes:
        checksum: CRC-32 of the columns.
        length: bytes of the columns.
        num_events: n.
        span: offsets.
        first_offset, received_at: see Frame.
        version: of the format.
        user, item, event_id, extra: how these columns are written.
        has_places: whether there are fewer events than offsets.
        num_labels: names in the table of labels.
    """

    checksum: int
    length: int
    num_events: int
    span: int
    first_offset: int
    received_at: int
    version: int
    user: int
    item: int
    event_id: int
    extra: int
    has_places: int
    num_labels: int

    @property
    def next_offset(self) -> int:
        """One more than the last offset."""
        return self.first_offset + self.span

    @property
    def is_seal(self) -> bool:
        """Whether it ends a segment."""
        return self.span == 0


def encode(frame: Frame) -> bytes:
    """A frame as bytes.

    Raises:
        LogError: it is larger than a frame can be.
    """
    events = frame.events
    columns = [pack_column(values) for values in (events.user, events.item, events.event_id, events.extra)]
    span = frame.next_offset - frame.first_offset
    has_places = span != len(events)
    places = (frame.offsets - frame.first_offset).astype("<u4").tobytes() if has_places else b""
    body = b"".join(
        [
            events.at.astype("<i8", copy=False).tobytes(),
            events.value.astype("<f4", copy=False).tobytes(),
            events.kind.astype("u1", copy=False).tobytes(),
            events.label.astype("u1", copy=False).tobytes(),
            places,
            *(packed for _, packed in columns),
            pack_names(events.labels),
        ]
    )
    if len(body) > FRAMING.max_bytes:
        raise LogError(f"{len(events)} events of {len(body)} bytes are too large for one commit; send fewer at once")
    fields = (
        len(events), span, frame.first_offset, frame.received_at, FORMAT_VERSION,
        *(kind for kind, _ in columns), has_places, len(events.labels),
    )  # fmt: skip
    return FRAMING.pack(fields, body)


def seal(next_offset: int) -> bytes:
    """The bytes that end a segment whose last event has the offset before this one."""
    return FRAMING.pack((0, 0, next_offset, 0, FORMAT_VERSION, 0, 0, 0, 0, 0, 0))


def decode_header(packed: bytes, start: int = 0) -> Header | None:
    """The header that stands at a byte; None where no whole and unharmed one does.

    Raises:
        LogError: a later release wrote it.
    """
    fields = FRAMING.header(packed, start)
    if fields is None:
        return None
    header = Header(*fields)
    if header.version != FORMAT_VERSION:
        raise LogError(
            f"the log has events in format version {header.version}, this release reads {FORMAT_VERSION}: update it"
        )
    return header


def is_whole(header: Header, body: bytes) -> bool:
    """Whether these are the columns of the header, neither cut off nor harmed."""
    return is_whole_body(body, header.checksum, header.length)


def decode(header: Header, body: bytes) -> Frame:
    """The frame of a header and its whole columns."""
    count, start, fixed = header.num_events, 0, {}
    for name, dtype in (("at", "<i8"), ("value", "<f4"), ("kind", "u1"), ("label", "u1")):
        column = np.frombuffer(body, dtype, count, start)
        fixed[name], start = column.astype(column.dtype.newbyteorder("=")), start + column.nbytes
    offsets = np.arange(header.first_offset, header.first_offset + count)
    if header.has_places:
        offsets = header.first_offset + np.frombuffer(body, "<u4", count, start).astype(np.int64)
        start += 4 * count
    texts = {}
    for name in ("user", "item", "event_id", "extra"):
        texts[name], start = unpack_column(getattr(header, name), count, body, start)
    events = Events(**fixed, **texts, labels=unpack_names(header.num_labels, body, start))
    return Frame(header.first_offset, header.next_offset, header.received_at, offsets, events)
