"""One request of the log as bytes: what identifies it, and named arrays of one value or row a user."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.frames import Framing

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
# bytes of the name, dtype, dimensions, shape.
ARRAY = struct.Struct("<BBBII")
DTYPES = tuple(map(np.dtype, ("<i4", "<i8", "<f4", "<f8", "u1", "O")))
CODES = {dtype.newbyteorder("="): code for code, dtype in enumerate(DTYPES)}
OBJECT = len(DTYPES) - 1
NONE, INTEGER, TEXT, FLOAT = range(4)
LONGEST = 1 << 12


@dataclass(frozen=True)
class Record:
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
        arrays: by name, [B] or [B, W] of int32, int64, float32, float64, uint8, or objects of None, int, bytes, float.
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
    arrays: dict[str, NDArray] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Its frame."""
        texts = [_text(text) for text in (self.request_id, self.consumer, self.trace, self.error)]
        parts = [
            LAYOUT.pack(
                self.key, self.wall, self.mono, min(self.service_us, (1 << 32) - 1), min(self.batch, (1 << 16) - 1),
                self.reason, *map(len, texts), len(self.arrays),
            ),
            *texts,
        ]  # fmt: skip
        for name, array in self.arrays.items():
            _pack(parts, name.encode(), array)
        return frame(self.kind, b"".join(parts))

    @classmethod
    def unpack(cls, kind: int, body: bytes) -> Record:
        """The record of a whole frame's body."""
        key, wall, mono, service_us, batch, reason, *lengths, num_arrays = LAYOUT.unpack_from(body)
        start, texts = LAYOUT.size, []
        for length in lengths:
            texts.append(body[start : start + length].decode("utf-8", "replace"))
            start += length
        arrays = {}
        for _ in range(num_arrays):
            name, arrays[name], start = _unpack(body, start)
        request_id, consumer, trace, error = texts
        return cls(kind, key, wall, mono, service_us, batch, reason, request_id, consumer, trace, error, arrays)


def frame(kind: int, body: bytes) -> bytes:
    """Bytes of a segment that stand for themselves."""
    return FRAMING.pack((FORMAT_VERSION, kind), body)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:LONGEST]


def _pack(parts: list[bytes], name: bytes, array: NDArray) -> None:
    code = CODES.get(array.dtype, OBJECT)
    width = array.shape[1] if array.ndim == 2 else 0
    parts += (ARRAY.pack(len(name), code, array.ndim, len(array), width), name)
    parts.append(_pack_objects(array) if code == OBJECT else array.astype(DTYPES[code], copy=False).tobytes())


def _pack_objects(array: NDArray) -> bytes:
    return b"".join(map(_pack_value, array.reshape(-1).tolist()))


def _pack_value(value: Any) -> bytes:
    if value is None:
        return b"\0"
    if isinstance(value, (bytes, str)):
        text = value if isinstance(value, bytes) else value.encode()
        return struct.pack("<BI", TEXT, len(text)) + text
    return struct.pack("<Bd", FLOAT, value) if isinstance(value, float) else struct.pack("<Bq", INTEGER, value)


def _unpack(body: bytes, start: int) -> tuple[str, NDArray, int]:
    length, code, dimensions, count, width = ARRAY.unpack_from(body, start)
    start += ARRAY.size
    name = body[start : start + length].decode()
    start += length
    shape = (count, width)[:dimensions]
    size = int(np.prod(shape))
    if code == OBJECT:
        values, start = _unpack_objects(body, start, size)
        return name, values.reshape(shape), start
    dtype = DTYPES[code]
    found = np.frombuffer(body, dtype, size, start).astype(dtype.newbyteorder("=")).reshape(shape)
    return name, found, start + size * dtype.itemsize


def _unpack_objects(body: bytes, start: int, size: int) -> tuple[NDArray, int]:
    values = np.empty(size, object)
    for place in range(size):
        kind, start = body[start], start + 1
        if kind == TEXT:
            (length,) = struct.unpack_from("<I", body, start)
            values[place], start = body[start + 4 : start + 4 + length], start + 4 + length
        elif kind != NONE:
            (values[place],) = struct.unpack_from("<d" if kind == FLOAT else "<q", body, start)
            start += 8
    return values, start
