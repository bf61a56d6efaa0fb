"""Items' records that are kept in parts, one a source partition, added up when they are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.stream.record import NOT_SAID, item_record, pack_items, unpack
from runtime.stream.spec import StreamSpec
from runtime.stream.windows import TILES

__all__ = ["added_up"]


def added_up(parts: Sequence[Sequence[bytes | None]], spec: StreamSpec) -> list[bytes | None]:
    """One record an item.

    A part holds what one partition's events say, never what was added to it since: written twice, it says the same.

    Args:
        parts: of n items, P each: records of `item_record`, None where a partition has none.
        spec: of the stream.

    Returns:
        n records; None where no partition has one. The stock is that of the latest instant, the windows are sums, and
        offsets are those of the part that they come from.
    """
    if not parts or len(parts[0]) == 1:
        return [own[0] for own in parts]
    columns = [unpack(values, item_record(spec)) for values in zip(*parts, strict=True)]
    merged = columns[0]
    for other in columns[1:]:
        _add(merged, other)
    is_there = [any(value is not None for value in own) for own in parts]
    return [value if there else None for value, there in zip(pack_items(merged), is_there, strict=True)]


def _add(merged: NDArray, other: NDArray) -> None:
    """Add parts [n] to others, in place."""
    merged["next_offset"] = np.maximum(merged["next_offset"], other["next_offset"])
    told = other["stock"] != NOT_SAID
    is_later = (other["at"] > merged["at"]) | (other["at"] == merged["at"]) & (other["offset"] > merged["offset"])
    rows = np.flatnonzero(told & (is_later | (merged["stock"] == NOT_SAID)))
    for name in ("at", "offset", "stock"):
        merged[name][rows] = other[name][rows]
    if "tiles" not in (merged.dtype.names or ()):
        return
    newest = np.maximum(merged["newest"], other["newest"])
    merged["tiles"] = _within(merged, newest) + _within(other, newest)
    merged["newest"] = newest


def _within(records: NDArray, newest: NDArray) -> NDArray:
    """The tiles [n, K, TILES] that a ring which ends at `newest` [n, K] still has; tile e is at e modulo TILES."""
    last = records["newest"].astype(np.int64)[..., None]
    epoch = last - (last - np.arange(TILES)) % TILES
    kept = epoch > newest.astype(np.int64)[..., None] - TILES
    return np.where(kept, records["tiles"], np.uint32(0))
