"""What is known of all users of a batch at once: seen items, items to leave out, how much recent ones count.

NumPy on the host: a few integers a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.device.search import Hidden
from runtime.neighbours import Recency
from runtime.seen import SeenItems
from runtime.spec import LIVE_SEEN

__all__ = ["Seen", "counts_of", "hidden_from", "seen_by"]


class Seen(NamedTuple):
    """Items that users have interacted with, by user, then by row, each once.

    Attributes:
        users: int64 [T], places in the batch.
        rows: int64 [T], item rows.
    """

    users: NDArray[np.int64]
    rows: NDArray[np.int64]


def seen_by(batch: Mapping[str, NDArray], seen: SeenItems, num_items: int) -> Seen:
    """The seen items of every user, those of the request and of live events among them.

    Args:
        batch: user_row [B, 1], recent_rows [B, R], -1 padded, and perhaps live_seen_rows [B, L].
        seen: the stored ones.
        num_items: N.
    """
    users, rows = seen.of_many(batch["user_row"][:, 0])
    keys = [users * num_items + rows]
    more = [_keys(batch[name], num_items) for name in ("recent_rows", LIVE_SEEN) if name in batch]
    if any(map(len, more)):
        keys = [np.unique(np.concatenate(keys + more))]
    return Seen(*np.divmod(keys[0], num_items))


def hidden_from(batch: Mapping[str, NDArray], seen: Seen | None, num_items: int) -> Hidden:
    """What users must not see.

    Args:
        batch: with excluded_rows [B, X], -1 padded.
        seen: None where seen items may be shown again.
        num_items: N.
    """
    keys = _keys(batch["excluded_rows"], num_items)
    if seen is not None:
        of_seen: NDArray[np.int64] = seen.users * num_items + seen.rows
        keys = np.concatenate([of_seen, keys]) if len(keys) else of_seen
    if seen is None or len(keys) > len(seen.rows):
        keys = np.unique(keys)
    starts = np.searchsorted(keys, np.arange(len(batch["user_row"]) + 1) * num_items)
    return Hidden(starts, (keys % num_items).astype(np.int32))


def counts_of(
    batch: Mapping[str, NDArray], seen: Seen, history: NDArray, length: int, recency: Recency, num_items: int
) -> NDArray[np.float64]:
    """How much each seen item counts, see `Recency.counts`; float64 [T].

    Args:
        batch: user_row [B, 1] and recent_rows [B, R].
        seen: of its users, the recent ones among them.
        history: int32 [U, L], stored item rows, oldest first, -1 padded.
        length: how many of the latest are recent.
        recency: how much more those count.
        num_items: N.
    """
    counts = np.ones(len(seen.rows))
    if not recency.boost or not len(counts):
        return counts
    known = batch["user_row"][:, 0] >= 0
    stored = np.where(known[:, None], history[np.where(known, batch["user_row"][:, 0], 0)], -1)
    recent = np.concatenate([stored, batch["recent_rows"]], axis=1)
    is_item = recent >= 0
    ages = np.cumsum(is_item[:, ::-1], axis=1)[:, ::-1] - 1
    users, places = np.nonzero(is_item & (ages < length))
    keys = users * num_items + recent[users, places]
    gains = recency.boost * recency.decay ** ages[users, places]
    np.add.at(counts, np.searchsorted(seen.users * num_items + seen.rows, keys), gains)
    return counts


def _keys(rows: NDArray, num_items: int) -> NDArray[np.int64]:
    """One number for each user and item of padded rows."""
    users, places = np.nonzero(rows >= 0)
    keys: NDArray[np.int64] = users * num_items + rows[users, places]
    return keys
