"""The factored ranker: DLRM logits from parts computed per user or item. NumPy alone: the server runs this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.ranker.blas import one_thread
from runtime.ranker.items import ItemParts, load_items

__all__ = ["FactoredWeights", "load_weights", "score"]


@dataclass(frozen=True)
class FactoredWeights:
    """The arrays that are ready before a request comes.

    Attributes:
        items: item rows -> fields [C, Fi, D] and hidden [C, H].
        cross: float32 [Fi * Fq, H]; row g * Fq + f weighs item field g with query field f.
        pair: float32 [P, H], on the raw pair features.
        skip: float32 [P], or [P, T] with tasks, from the raw pair features straight to the logits.
        layers: kernel and bias of every layer after the first; the last gives the logit, or those of T tasks.
    """

    items: ItemParts
    cross: NDArray[np.float32]
    pair: NDArray[np.float32]
    skip: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    @property
    def num_tasks(self) -> int:
        """T, or 0: one logit without a name."""
        return self.layers[-1][0].shape[1] if self.skip.ndim > 1 else 0


def load_weights(folder: Path, values: Mapping[str, NDArray] | None = None) -> FactoredWeights:
    """Read top.npz of `folder` and open the item parts.

    Args:
        folder: ranking/ of a run, or a copy of it.
        values: the encoded items by row; needed where the item parts are gathered.

    Raises:
        OSError: a file is missing.
        KeyError: top.npz lacks an array.
        ValueError: see `load_items`.
    """
    with np.load(folder / "top.npz", allow_pickle=False) as top:
        count = sum(name.startswith("w") for name in top.files)
        layers = tuple((top[f"w{i}"], top[f"b{i}"]) for i in range(1, count + 1))
        cross, pair, skip = top["cross"], top["pair"], top["skip"]
    return FactoredWeights(load_items(folder, values), cross, pair, skip, layers)


def score(
    query_fields: NDArray, query_hidden: NDArray, item_rows: NDArray, pair: NDArray, weights: FactoredWeights
) -> NDArray[np.float32]:
    """Logits of every candidate.

    Args:
        query_fields: float32 [B, Fq, D], `fields` of ranker_query.onnx.
        query_hidden: float32 [B, H], `hidden` of it.
        item_rows: int [B, C], none negative.
        pair: float32 [B, C, P], raw pair features; P may be 0.
        weights: the rest.

    Returns:
        float32 [B, C], or [B, C, T] with tasks. Users are computed one by one: matrix products of another height may
        round differently, and a user's slate must not depend on who else is in the batch; nor on the number of threads,
        hence on one.
    """
    tasks = (weights.num_tasks,) if weights.num_tasks else ()
    logits = np.empty((*item_rows.shape, *tasks), np.float32)
    with one_thread:
        for user, rows in enumerate(item_rows):
            logits[user] = _score_one(query_fields[user], query_hidden[user], rows, pair[user], weights)
    return logits


def _score_one(
    fields: NDArray, query_hidden: NDArray, rows: NDArray, pair: NDArray, weights: FactoredWeights
) -> NDArray[np.float32]:
    items, hidden = weights.items(rows)  # (C, Fi, D), (C, H), both our own
    num_rows, num_item_fields, dim = items.shape
    dots = items.reshape(num_rows * num_item_fields, dim) @ fields.T  # (C * Fi, Fq)
    hidden += dots.reshape(num_rows, -1) @ weights.cross
    hidden += query_hidden
    if pair.shape[-1]:
        hidden += pair @ weights.pair
    for kernel, bias in weights.layers:
        np.maximum(hidden, 0.0, out=hidden)
        hidden = hidden @ kernel
        hidden += bias
    logits: NDArray[np.float32] = hidden if weights.num_tasks else hidden[:, 0]
    return logits + pair @ weights.skip if pair.shape[-1] else logits
