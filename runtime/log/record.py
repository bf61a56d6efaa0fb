"""One request of the log as bytes: what identifies it, and named arrays of one value or row a user."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from numpy.typing import NDArray

from runtime.frames import Framing
from runtime.log.arrays import PackedArray, parts_of, read_arrays

__all__ = [
    "ANSWER",
    "COUNTS",
    "ERROR",
    "FORCED",
    "FRAMING",
    "HASH",
    "HEADER",
    "REASONS",
    "REQUEST",
    "SLOW",
    "WHOLE",
    "Record",
    "frame",
    "pack_record",
]

FRAMING = Framing(b"\xffRQ\xfe", "BB")
FORMAT_VERSION = 1
# Kinds of frames: what a segment begins with, half a request, the other half, both, and the counts that end a segment.
HEADER, REQUEST, ANSWER, WHOLE, COUNTS = range(5)
# Why a request is in the log.
REASONS = ("hash", "slow", "error", "forced")
HASH, SLOW, ERROR, FORCED = range(len(REASONS))

# key, wall, mono, service_us, batch, reason, bytes of request_id, consumer, trace and error, arrays.
LAYOUT = struct.Struct("<QqqIHBHHHHB")
MOST_US, MOST_USERS = (1 << 32) - 1, (1 << 16) - 1
LONGEST = 1 << 12
NOTHING: Mapping[str, PackedArray] = MappingProxyType({})
Fields = tuple[int, int, int, int, int, int, int]
Texts = tuple[str, str, str, str]


class Record(NamedTuple):
    """A request, its answer, or both.

    Attributes:
        kind: REQUEST, ANSWER or WHOLE.
        key: of its id, see `runtime.log.sampling`.
        wall: when it was answered, nanoseconds since 1970 by the clock of then.
        mono: the same instant by the machine's monotonic clock.
        service_us: how long the process had it.
        batch: users that were answered together.
        reason: its place in REASONS.
        request_id, consumer, trace: text; trace is the sender's `traceparent`.
        error: why it was refused; else empty.
        arrays: by name.
    """

    kind: int
    key: int
    wall: int
    mono: int
    service_us: int
    batch: int
    reason: int
    request_id: str
    consumer: str
    trace: str = ""
    error: str = ""
    arrays: Mapping[str, PackedArray] = NOTHING

    def array(self, name: str) -> NDArray:
        """One of its arrays, [B] or [B, W]."""
        return self.arrays[name].array()

    @property
    def num_users(self) -> int:
        """Users that it is of; a refused request names none."""
        return next((array.num_users for array in self.arrays.values()), 0)

    def pack(self) -> bytes:
        """Its frame."""
        texts = self.request_id, self.consumer, self.trace, self.error
        parts = [part for name, array in self.arrays.items() for part in array.parts(name)]
        return _framed(self[:7], texts, len(self.arrays), parts)

    @classmethod
    def unpack(cls, kind: int, body: bytes) -> Record:
        """The record of a whole frame's body."""
        key, wall, mono, service_us, batch, reason, *lengths, num_arrays = LAYOUT.unpack_from(body)
        start, texts = LAYOUT.size, []
        for length in lengths:
            texts.append(body[start : start + length].decode("utf-8", "replace"))
            start += length
        request_id, consumer, trace, error = texts
        arrays = read_arrays(body, start, num_arrays)
        return cls(kind, key, wall, mono, service_us, batch, reason, request_id, consumer, trace, error, arrays)


def pack_record(fields: Fields, texts: Texts, arrays: Mapping[str, NDArray]) -> bytes:
    """The frame of a new record.

    Args:
        fields: kind, key, wall, mono, service_us, batch and reason, see `Record`.
        texts: request_id, consumer, trace and error.
        arrays: by name, see `runtime.log.arrays.parts_of`; what is written of them is a copy.
    """
    return _framed(fields, texts, len(arrays), parts_of(arrays))


def frame(kind: int, body: bytes) -> bytes:
    """Bytes of a segment that stand for themselves."""
    return FRAMING.pack((FORMAT_VERSION, kind), body)


def _framed(fields: Fields, texts: Texts, num_arrays: int, parts: Sequence[bytes]) -> bytes:
    kind, key, wall, mono, service_us, batch, reason = fields
    packed = [text.encode("utf-8", "replace")[:LONGEST] if text else b"" for text in texts]
    head = LAYOUT.pack(
        key, wall, mono, min(service_us, MOST_US), min(batch, MOST_USERS), reason, *map(len, packed), num_arrays
    )
    return frame(kind, b"".join([head, *packed, *parts]))
