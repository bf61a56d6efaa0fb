"""Recall over the whole catalogue, on validation users, with numpy."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Events, Features, State
from workflows.features.schema import HISTORY

__all__ = ["ValidationSet", "recall_at_k", "validation_set"]

SCORES_PER_BLOCK = 32_000_000


class ValidationSet(msgspec.Struct, frozen=True):
    """One query per validation user.

    Attributes:
        user_row: int [V].
        inputs: query tower inputs, [V, ...] each.
        relevant: per user, item rows of the positive validation events that the user had not seen in training.
        seen: per user, item rows seen in training; excluded from the candidates.
    """

    user_row: NDArray
    inputs: Batch
    relevant: list[NDArray]
    seen: list[NDArray]

    def __len__(self) -> int:
        """V, the validation users."""
        return len(self.relevant)


def validation_set(features: Features, positives: Events, state: State, num_users: int, seed: int) -> ValidationSet:
    """Draw the validation users; the query of each is its first positive validation event.

    Args:
        features: of the run.
        positives: positive validation events with an item of the catalogue.
        state: after training.
        num_users: users drawn; 0: all.
        seed: they are drawn with.
    """
    columns = positives.columns
    users, first = np.unique(columns["user_row"], return_index=True)
    relevant_of = _rows_by_user(columns, users)
    keep = [i for i, user in enumerate(users) if len(np.setdiff1d(relevant_of[i], state.seen(int(user))))]
    if num_users and len(keep) > num_users:
        drawn = np.random.default_rng(seed).choice(len(keep), num_users, replace=False)
        keep = [keep[i] for i in np.sort(drawn)]
    rows = {name: values[first[keep]] for name, values in columns.items()}
    seen = [np.asarray(state.seen(int(users[i]))) for i in keep]
    return ValidationSet(
        user_row=users[keep],
        inputs=features.query_inputs(rows["user_row"], rows, rows[HISTORY]) if keep else {},
        relevant=[np.setdiff1d(relevant_of[i], s) for i, s in zip(keep, seen, strict=True)],
        seen=seen,
    )


def recall_at_k(
    queries: ValidationSet, encode: Callable[[Batch], NDArray], item_embeddings: NDArray[np.float32], k: int
) -> float:
    """Mean over users of hits / relevant in the exact top k of the unseen catalogue.

    Args:
        queries: the validation users.
        encode: the query tower, batch -> float32 [B, D].
        item_embeddings: float32 [N, D] by item_row.
        k: cutoff; at most N counts.
    """
    block = max(1, SCORES_PER_BLOCK // len(item_embeddings))
    k = min(k, len(item_embeddings))
    total = 0.0
    for start in range(0, len(queries), block):
        stop = min(start + block, len(queries))
        scores = encode({name: values[start:stop] for name, values in queries.inputs.items()}) @ item_embeddings.T
        for i in range(stop - start):
            scores[i, queries.seen[start + i]] = -np.inf
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        for i in range(stop - start):
            relevant = queries.relevant[start + i]
            # A user with fewer than k unseen items must not be credited for the seen ones that fill up the top.
            found = top[i][np.isfinite(scores[i, top[i]])]
            total += np.isin(relevant, found).sum() / len(relevant)
    return float(total) / max(len(queries), 1)


def _rows_by_user(columns: Batch, users: NDArray) -> list[NDArray]:
    order = np.lexsort((columns["item_row"], columns["user_row"]))
    bounds = np.searchsorted(columns["user_row"][order], users, side="right")
    return [np.unique(rows) for rows in np.split(columns["item_row"][order], bounds[:-1])] if len(users) else []
