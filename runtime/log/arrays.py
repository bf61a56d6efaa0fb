"""Named arrays of a record as bytes, which nobody can change once they are there."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "OBJECT", "PackedArray", "parts_of", "read_arrays"]

# bytes of the name, dtype, dimensions, shape.
ARRAY = struct.Struct("<BBBII")
DTYPES = tuple(map(np.dtype, ("<i4", "<i8", "<f4", "<f8", "u1", "O")))
CODES = {dtype.newbyteorder("="): code for code, dtype in enumerate(DTYPES)}
LETTERS = {dtype.char: code for code, dtype in enumerate(DTYPES)}
ITEM_BYTES = tuple(dtype.itemsize for dtype in DTYPES)
OBJECT = len(DTYPES) - 1
IS_LITTLE = sys.byteorder == "little"
# Kinds of objects, each one byte before its value; a text has its length before it.
NONE, INTEGER, TEXT, FLOAT = range(4)
TEXT_HEAD, LENGTH = struct.Struct("<BI"), struct.Struct("<I")
INTEGER_VALUE, FLOAT_VALUE = struct.Struct("<Bq"), struct.Struct("<Bd")


class PackedArray(NamedTuple):
    """An array of a record.

    Attributes:
        code: place of its dtype in DTYPES.
        dimensions: 1 or 2.
        num_users: B.
        width: values of each; 0 in one dimension.
        packed: the values.
    """

    code: int
    dimensions: int
    num_users: int
    width: int
    packed: bytes

    def array(self) -> NDArray:
        """The array [B] or [B, W]."""
        shape = (self.num_users, self.width)[: self.dimensions]
        if self.code == OBJECT:
            made = np.empty(self.num_users * (self.width if self.dimensions > 1 else 1), object)
            made[:] = self.objects()
            return made.reshape(shape)
        dtype = DTYPES[self.code]
        return np.frombuffer(self.packed, dtype).astype(dtype.newbyteorder("=")).reshape(shape)

    def objects(self) -> list[Any]:
        """The values of an array of objects: None, int, bytes or float."""
        return list(_objects(self.packed))

    def parts(self, name: str) -> tuple[bytes, bytes]:
        """What stands before the values in a record, and the values."""
        return _head(name, self.code, (self.num_users, self.width)[: self.dimensions]), self.packed


def parts_of(arrays: Mapping[str, NDArray]) -> list[bytes]:
    """The parts of a record that are arrays: copies of their bytes.

    Args:
        arrays: by name, each [B] or [B, W] of int32, int64, float32, float64, uint8, or objects of None, int, bytes,
            float.
    """
    parts = []
    for name, array in arrays.items():
        dtype = array.dtype
        # The letter of a dtype is looked up faster than it, and names it where it is the machine's own.
        code = LETTERS.get(dtype.char)
        if code is None or not dtype.isnative:
            code = CODES.get(dtype, OBJECT)
        parts.append(_head(name, code, array.shape))
        if code == OBJECT:
            values = array.reshape(-1).tolist()
            parts.append(_pack_value(values[0]) if len(values) == 1 else b"".join(map(_pack_value, values)))
        else:
            parts.append(array.tobytes() if IS_LITTLE else array.astype(DTYPES[code]).tobytes())
    return parts


def read_arrays(body: bytes, start: int, number: int) -> dict[str, PackedArray]:
    """So many arrays from a byte of a record on."""
    arrays = {}
    for _ in range(number):
        length, code, dimensions, count, width = ARRAY.unpack_from(body, start)
        begin = start + ARRAY.size + length
        size = count * width if dimensions > 1 else count
        end = _objects_end(body, begin, size) if code == OBJECT else begin + size * ITEM_BYTES[code]
        name = body[start + ARRAY.size : begin].decode()
        arrays[name] = PackedArray(code, dimensions, count, width, body[begin:end])
        start = end
    return arrays


@lru_cache(maxsize=4096)
def _head(name: str, code: int, shape: tuple[int, ...]) -> bytes:
    """Of few names and shapes, most of which come again."""
    packed = name.encode()
    return ARRAY.pack(len(packed), code, len(shape), *shape, *[0] * (2 - len(shape))) + packed


def _pack_value(value: Any) -> bytes:
    if value is None:
        return b"\0"
    if isinstance(value, (bytes, str)):
        text = value if isinstance(value, bytes) else value.encode()
        return TEXT_HEAD.pack(TEXT, len(text)) + text
    return FLOAT_VALUE.pack(FLOAT, value) if isinstance(value, float) else INTEGER_VALUE.pack(INTEGER, value)


def _objects_end(body: bytes, start: int, size: int) -> int:
    for _ in range(size):
        kind = body[start]
        if kind == TEXT:
            start += TEXT_HEAD.size + LENGTH.unpack_from(body, start + 1)[0]
        else:
            start += 1 if kind == NONE else INTEGER_VALUE.size
    return start


def _objects(packed: bytes) -> Iterator[Any]:
    start = 0
    while start < len(packed):
        kind = packed[start]
        if kind == TEXT:
            begin = start + TEXT_HEAD.size
            start = begin + LENGTH.unpack_from(packed, start + 1)[0]
            yield packed[begin:start]
        elif kind == NONE:
            start += 1
            yield None
        else:
            yield (FLOAT_VALUE if kind == FLOAT else INTEGER_VALUE).unpack_from(packed, start)[1]
            start += INTEGER_VALUE.size
