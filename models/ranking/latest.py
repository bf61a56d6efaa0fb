"""Training rows of the sampled ranker where valid holds none: each user's latest train positive, held back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, State

__all__ = ["hold_back_latest"]


def hold_back_latest(positives: Batch, state: State) -> tuple[Batch, State]:
    """Split the latest train positive of each user from the rest of the user's events.

    Both retrieval sources have learnt from these positives, so the ranker will trust their scores more than held-out
    positives would teach it to: it can serve, but adds little to retrieval's own order.

    Args:
        positives: train positives with an item of the catalogue, column -> [R] or [R, L], in the order of time.
        state: after the train split.

    Returns:
        One row a user, by user; and the state as if these users had not had these items yet.
    """
    users = positives["user_row"]
    known, from_end = np.unique(users[::-1], return_index=True)
    latest = len(users) - 1 - from_end
    rows = {name: values[latest] for name, values in positives.items()}
    held = np.full(len(state.seen_indptr) - 1, -1, np.int64)
    held[known] = rows["item_row"]
    owner = np.repeat(np.arange(len(held)), np.diff(state.seen_indptr))
    kept = np.asarray(state.seen_rows) != held[owner]
    counts = np.bincount(owner[kept], minlength=len(held))
    popularity = np.asarray(state.popularity) - np.bincount(rows["item_row"], minlength=len(state.popularity))
    return rows, State(
        history=_without(np.asarray(state.history), held),
        seen_indptr=np.append(0, np.cumsum(counts)),
        seen_rows=np.asarray(state.seen_rows)[kept],
        popularity=np.maximum(popularity, 0.0).astype(np.float32),
    )


def _without(history: NDArray[np.int32], held: NDArray[np.int64]) -> NDArray[np.int32]:
    """Histories [U, L] without the item of each user [U], padded right with -1."""
    kept = (history >= 0) & (history != held[:, None])
    order = np.argsort(~kept, axis=1, kind="stable")
    moved: NDArray[np.int32] = np.take_along_axis(np.where(kept, history, np.int32(-1)), order, axis=1)
    return moved
