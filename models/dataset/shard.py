"""Which share of the events a process trains on. By itself: every command reads it, also where only servers run."""

from __future__ import annotations

import msgspec

__all__ = ["Shard"]


class Shard(msgspec.Struct, frozen=True):
    """Rows rank, rank + size, ... of the shuffled order."""

    rank: int = 0
    size: int = 1
