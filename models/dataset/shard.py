"""The share of the events that a process trains on. Apart, as every command imports it."""

from __future__ import annotations

import msgspec

__all__ = ["Shard"]


class Shard(msgspec.Struct, frozen=True):
    """Rows rank, rank + size, ... of the shuffled order."""

    rank: int = 0
    size: int = 1
