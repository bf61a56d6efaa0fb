"""The factored ranker: DLRM logits from parts computed per user or item. NumPy alone: the server runs this file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FactoredWeights", "load_weights", "score"]


@dataclass(frozen=True)
class FactoredWeights:
    """What is known before a request comes.

    Attributes:
        item_fields: float32 [N, Fi, D].
        item_hidden: float32 [N, H].
        cross: float32 [Fi * Fq, H]; row g * Fq + f weighs item field g with query field f.
        pair: float32 [P, H], on the raw pair features.
        skip: float32 [P], from the raw pair features straight to the logit.
        layers: kernel and bias of every layer after the first; the last gives the logit.
    """

    item_fields: NDArray[np.float32]
    item_hidden: NDArray[np.float32]
    cross: NDArray[np.float32]
    pair: NDArray[np.float32]
    skip: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]


def load_weights(folder: Path, *, mmap: bool = True) -> FactoredWeights:
    """Read item_fields.npy, item_hidden.npy and top.npz of `folder`.

    Args:
        folder: ranking/ of a run, or a copy of it.
        mmap: map the item arrays into memory instead of reading them.

    Raises:
        OSError: a file is missing.
        KeyError: top.npz lacks an array.
    """
    mode: Literal["r"] | None = "r" if mmap else None
    with np.load(folder / "top.npz", allow_pickle=False) as top:
        count = sum(name.startswith("w") for name in top.files)
        layers = tuple((top[f"w{i}"], top[f"b{i}"]) for i in range(1, count + 1))
        cross, pair, skip = top["cross"], top["pair"], top["skip"]
    item_fields = np.load(folder / "item_fields.npy", mmap_mode=mode, allow_pickle=False)
    item_hidden = np.load(folder / "item_hidden.npy", mmap_mode=mode, allow_pickle=False)
    return FactoredWeights(item_fields, item_hidden, cross, pair, skip, layers)


def score(
    query_fields: NDArray, query_hidden: NDArray, item_rows: NDArray, pair: NDArray, weights: FactoredWeights
) -> NDArray[np.float32]:
    """Logits of every candidate.

    Args:
        query_fields: float32 [B, Fq, D], `fields` of ranker_query.onnx.
        query_hidden: float32 [B, H], `hidden` of it.
        item_rows: int [B, C]; -1 is no candidate.
        pair: float32 [B, C, P], raw pair features; P may be 0.
        weights: the rest.

    Returns:
        float32 [B, C], -inf where there is no candidate. Users are computed one by one: matrix products of another
        height may round differently, and a user's slate must not depend on who else is in the batch.
    """
    logits = np.empty(item_rows.shape, np.float32)
    for user, rows in enumerate(item_rows):
        logits[user] = _score_one(query_fields[user], query_hidden[user], rows, pair[user], weights)
    logits[item_rows < 0] = -np.inf
    return logits


def _score_one(
    fields: NDArray, query_hidden: NDArray, rows: NDArray, pair: NDArray, weights: FactoredWeights
) -> NDArray[np.float32]:
    rows = np.maximum(rows, 0)
    items = weights.item_fields[rows]  # (C, Fi, D)
    num_rows, num_item_fields, dim = items.shape
    dots = items.reshape(num_rows * num_item_fields, dim) @ fields.T  # (C * Fi, Fq)
    hidden = dots.reshape(num_rows, -1) @ weights.cross  # (C, H)
    hidden += weights.item_hidden[rows]
    hidden += query_hidden
    logit = np.zeros(num_rows, np.float32)
    if pair.shape[-1]:
        hidden += pair @ weights.pair
        logit = pair @ weights.skip
    for kernel, bias in weights.layers:
        np.maximum(hidden, 0.0, out=hidden)
        hidden = hidden @ kernel
        hidden += bias
    logits: NDArray[np.float32] = hidden[:, 0] + logit
    return logits
