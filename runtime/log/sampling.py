"""Which requests are logged, and by what name a user goes in the log: the same wherever it is asked.

A request is in the sample by the hash of its id alone, so any server, retry, layout and whoever reads feedback later
decides alike.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from runtime.ids import as_bytes

__all__ = ["LOG", "NEVER", "key_of", "limit_of", "user_bytes", "users_of"]

# No secret: whoever wants a request in the log may ask for it.
SAMPLING_KEY = b"cascade request log"
# A parameter of a request: "1" has it logged whatever the sample is, NEVER neither logged nor counted. That is for the
# slates that a model asks for which shows one made of them.
LOG, NEVER = "log", "never"
# A copy of it costs less than another one.
HASHER = hashlib.blake2b(digest_size=8, key=SAMPLING_KEY)


def key_of(request_id: str) -> int:
    """64 bits that decide whether a request is in a sample: it is where they are below `limit_of(share)`."""
    hashed = HASHER.copy()
    hashed.update(request_id.encode())
    return int.from_bytes(hashed.digest(), "big")


def limit_of(share: float) -> int:
    """The first key that is no longer in a sample of this share."""
    return round(share * (1 << 64))


def user_bytes(user: object) -> bytes:
    """A raw user id as the bytes that its key is made of: text as it is, a number in 16 bytes."""
    return int(user).to_bytes(16, "big", signed=True) if isinstance(user, (int, np.integer)) else as_bytes(user)


def users_of(ids: NDArray) -> list[bytes]:
    """`user_bytes` of the ids of a request, [B] or [B, 1]."""
    return [user_bytes(user) for user in ids.reshape(-1).tolist()]
