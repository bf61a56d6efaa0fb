"""What a cache of slates holds: an entry a user, as bytes, and the keys that it lies under.

Writers and readers share this file; whose entry it is, its key says.
"""

from __future__ import annotations

import operator
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_client.slates import Id

__all__ = [
    "BLOCKED",
    "BUILDING",
    "CURRENT",
    "MAX_USER_BYTES",
    "NEVER",
    "POPULAR",
    "Entry",
    "entry_key",
    "meta_key",
    "user_key",
]

# Names of what a cache knows of itself: the version that is read, a build that is not finished, and the items that
# people have blocked.
CURRENT, BUILDING, BLOCKED = "current", "building", "blocked"
# The user under whom the slate for everybody lies: the popular items.
POPULAR = b""
# Stores take keys of up to 511 bytes.
MAX_USER_BYTES = 440
# When an entry without an expiry expires.
NEVER = 2**62
MAGIC = b"CSL1"
# Magic, offset, made_at_ms, expires_ms, number of items, bytes of the version, bytes of the path, whether ids are text.
HEAD = struct.Struct("<4sqqqHHHB")
CHECK = struct.Struct("<I")
KEY_BYTES, SCORE_BYTES, LENGTH_BYTES = 8, 4, 2


@dataclass(frozen=True)
class Entry:
    """The slate of one user, longer than what is shown.

    Attributes:
        version: of the model that made it.
        offset: events with smaller offsets are in it; -1 where the server had no live state.
        made_at_ms, expires_ms: since 1970.
        path: what the chain made it from.
        item_ids: n raw ids, descending score.
        scores: float32 [n].
        keys: int64 [n], under which the live state knows the items; of integer ids the ids.
    """

    version: str
    offset: int
    made_at_ms: int
    expires_ms: int
    path: str
    item_ids: Sequence[Id]
    scores: NDArray[np.float32]
    keys: NDArray[np.int64]

    def to_bytes(self) -> bytes:
        """The entry as a store keeps it."""
        texts = [item.encode() for item in self.item_ids if isinstance(item, str)]
        version, path = self.version.encode(), self.path.encode()
        num, is_text = len(self.item_ids), bool(texts)
        sizes = (num, len(version), len(path), is_text)
        head = HEAD.pack(MAGIC, self.offset, self.made_at_ms, self.expires_ms, *sizes)
        lengths = np.array([len(text) for text in texts], "<u2").tobytes()
        arrays = self.scores.astype("<f4").tobytes() + self.keys.astype("<i8").tobytes()
        body = b"".join([head, version, path, arrays, lengths, *texts])
        return body + CHECK.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, value: bytes | None) -> Entry | None:
        """The entry in a value; None where there is none, or none that is whole."""
        if value is None or len(value) < HEAD.size + CHECK.size or value[:4] != MAGIC:
            return None
        if zlib.crc32(value[: -CHECK.size]) != CHECK.unpack(value[-CHECK.size :])[0]:
            return None
        _, offset, made_at, expires, num, version_bytes, path_bytes, is_text = HEAD.unpack_from(value)
        at = HEAD.size + version_bytes
        version, path = value[HEAD.size : at].decode(), value[at : at + path_bytes].decode()
        at += path_bytes
        scores = np.frombuffer(value, "<f4", num, at)
        keys = np.frombuffer(value, "<i8", num, at + num * SCORE_BYTES)
        at += num * (SCORE_BYTES + KEY_BYTES)
        items: list[Id] = _texts(value, num, at) if is_text else keys.tolist()
        return cls(version, offset, made_at, expires, path, items, scores, keys)


def user_key(user: Id, is_text: bool) -> bytes | None:
    """The key of a user in the cache and in the live state; None for one that can be in neither."""
    if is_text:
        key = user.encode("utf-8", "surrogatepass") if isinstance(user, str) else str(user).encode()
        return key if 0 < len(key) <= MAX_USER_BYTES else None
    try:
        number = int(user) if isinstance(user, str) else operator.index(user)
    except (ValueError, TypeError):
        return None
    return (number ^ (-1 << 63)).to_bytes(8, "big", signed=True) if -(2**63) <= number < 2**63 else None


def entry_key(version: str, user: bytes) -> bytes:
    """The key of a user's entry, of a user's key."""
    return b"e" + version.encode() + b"\0" + user


def meta_key(name: str) -> bytes:
    """The key of what a cache knows of itself."""
    return b"m" + name.encode()


def _texts(value: bytes, num: int, at: int) -> list[Id]:
    ends = np.cumsum(np.frombuffer(value, "<u2", num, at), dtype=np.int64).tolist()
    start = at + num * LENGTH_BYTES
    return [value[start + first : start + end].decode() for first, end in zip([0, *ends[:-1]], ends)]
