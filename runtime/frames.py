"""Frames: bytes of any length in a file, each behind a header that says how many there are and whether they are whole.

    magic | checksum of the rest of the header | checksum of the body | bytes of the body | fields of its kind | body

The header has a checksum of its own, so that the end of a frame is known where only its body is damaged. The standard
library alone.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

__all__ = ["Framing"]

# Magic, checksum of the header behind it, checksum of the body, bytes of the body.
PREFIX = "<4sIII"
CHECKED_FROM = 8


class Framing:
    """One kind of frames.

    Args:
        magic: four bytes, of which no text consists: 0xff and 0xfe are in no UTF-8.
        fields: further ones of the header, as `struct` names them.

    Attributes:
        magic: as given.
        header_bytes: in front of a body.
        max_bytes: of a body.
    """

    def __init__(self, magic: bytes, fields: str) -> None:
        self.magic, self._layout = magic, struct.Struct(PREFIX + fields)
        self.header_bytes, self.max_bytes = self._layout.size, (1 << 32) - 1

    def pack(self, fields: tuple[int, ...], body: bytes = b"") -> bytes:
        """A frame as bytes; one without a body has a checksum of 0."""
        header = self._layout.pack(self.magic, 0, zlib.crc32(body), len(body), *fields)
        checked = header[CHECKED_FROM:]
        return self.magic + zlib.crc32(checked).to_bytes(4, "little") + checked + body

    def header(self, packed: bytes, start: int = 0) -> tuple[Any, ...] | None:
        """(checksum of the body, its bytes, the fields) of the whole header at a byte; None: there is none."""
        if len(packed) < start + self.header_bytes or packed[start : start + len(self.magic)] != self.magic:
            return None
        _, checksum, *rest = self._layout.unpack_from(packed, start)
        checked = packed[start + CHECKED_FROM : start + self.header_bytes]
        return tuple(rest) if zlib.crc32(checked) == checksum else None

    def body(self, packed: bytes, start: int, header: tuple[Any, ...]) -> bytes | None:
        """The body behind the header at a byte; None where it is cut off or harmed."""
        begin = start + self.header_bytes
        body = packed[begin : begin + header[1]]
        return body if is_whole(body, header[0], header[1]) else None

    def next_whole(self, packed: bytes, start: int) -> int:
        """The first byte from `start` on at which a whole and unharmed frame begins; -1: there is none."""
        place = packed.find(self.magic, start)
        while place >= 0:
            header = self.header(packed, place)
            if header is not None and self.body(packed, place, header) is not None:
                return place
            place = packed.find(self.magic, place + 1)
        return -1


def is_whole(body: bytes, checksum: int, length: int) -> bool:
    """Whether these are the bytes that a header says, neither cut off nor harmed."""
    return len(body) == length and zlib.crc32(body) == checksum
