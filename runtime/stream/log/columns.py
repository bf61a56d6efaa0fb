"""Columns of a frame as bytes: int64, or texts as their lengths and then all of them one behind the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["EMPTY", "INT64", "pack_column", "pack_names", "unpack_column", "unpack_names"]

# How a column is written: all texts empty and nothing written, texts with lengths of 1, 2 or 4 bytes, int64.
EMPTY, INT64 = 0, 8
LENGTHS: dict[int, np.dtype] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}


def pack_column(values: NDArray) -> tuple[int, bytes]:
    """A column as its kind and its bytes.

    Args:
        values: int64 [n], or objects of bytes [n].
    """
    if values.dtype.kind != "O":
        return INT64, values.astype("<i8", copy=False).tobytes()
    texts = values.tolist()
    joined = b"".join(texts)
    if not joined:
        return EMPTY, b""
    lengths = np.fromiter(map(len, texts), np.uint32, len(texts))
    longest = int(lengths.max())
    width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
    return width, lengths.astype(LENGTHS[width]).tobytes() + joined


def unpack_column(kind: int, count: int, packed: bytes, start: int) -> tuple[NDArray, int]:
    """A column of `count` values from its kind and its bytes, and where the bytes behind it start."""
    if kind == INT64:
        return np.frombuffer(packed, "<i8", count, start).astype(np.int64), start + 8 * count
    texts = np.full(count, b"", object)
    if kind == EMPTY:
        return texts, start
    lengths = np.frombuffer(packed, LENGTHS[kind], count, start)
    start += kind * count
    ends = start + np.cumsum(lengths, dtype=np.int64)
    starts = ends - lengths
    texts[:] = [packed[begin:end] for begin, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return texts, int(ends[-1]) if count else start


def pack_names(names: tuple[str, ...]) -> bytes:
    """A few names, each behind its length in two bytes."""
    texts = [name.encode() for name in names]
    return b"".join([len(text).to_bytes(2, "little") + text for text in texts])


def unpack_names(count: int, packed: bytes, start: int) -> tuple[str, ...]:
    """`count` names from their bytes."""
    names = []
    for _ in range(count):
        end = start + 2 + int.from_bytes(packed[start : start + 2], "little")
        names.append(packed[start + 2 : end].decode())
        start = end
    return tuple(names)
