"""Step 5: ranking scores -> the slate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.runtime.ids import NO_ITEM
from ensemble.runtime.spec import PATHS, POPULARITY, ChainSpec, Tensor
from ensemble.runtime.step import Arrays, Step, load_array

__all__ = ["Order"]


class Order(Step):
    """Order by score, descending, ties by id; cut to the slate; rows become raw ids and logits probabilities."""

    name = "order"

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        super().__init__(folder, spec)
        self._ids = load_array(folder / "ids/items.npy")
        self._is_text = self._ids.dtype.kind == "S"
        self._paths = np.array([path.encode() for path in PATHS], object)

    @classmethod
    def inputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The candidates with their scores, the path and the size of the slate."""
        return (
            Tensor("candidates", "INT32", spec.num_candidates),
            Tensor("ranking_score", "FP32", spec.num_candidates),
            Tensor("path_code", "INT32"),
            Tensor("num_wanted", "INT32"),
        )

    @classmethod
    def outputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The response."""
        return spec.response

    @classmethod
    def files(cls, spec: ChainSpec) -> tuple[str, ...]:
        """The raw item ids."""
        return ("ids/items.npy",)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, C] candidates -> [B, S], S being the largest slate asked for; padding is -1 or b"" with score 0."""
        rows, scores, wanted = batch["candidates"], batch["ranking_score"], batch["num_wanted"]
        is_item = rows != NO_ITEM
        size = int(wanted.max())
        user = np.arange(len(rows))[:, None]
        descending = np.where(is_item, -scores, np.float32(np.inf))
        best = (user, np.lexsort((rows, descending), axis=-1)[:, :size])  # (B, 1), (B, S)
        kept = is_item[best] & (np.arange(best[1].shape[1]) < wanted)
        logits = scores[best]
        popular = batch["path_code"] == POPULARITY
        shown = np.where(kept, np.where(popular, logits, sigmoid(logits)), np.float32(0))
        return {
            "item_id": self._raw_ids(rows[best], kept),
            "score": shown.astype(np.float32),
            "num_items": kept.sum(axis=1, keepdims=True).astype(np.int32),
            "path": self._paths[batch["path_code"]],
        }

    def _raw_ids(self, rows: NDArray, kept: NDArray) -> NDArray:
        """int64 or objects of bytes, [B, S]."""
        ids: NDArray = self._ids[np.where(kept, rows, 0)]
        if self._is_text:
            ids = ids.astype(object)
        ids[~kept] = b"" if self._is_text else -1
        return ids


def sigmoid(logits: NDArray) -> NDArray:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(logits))
    result: NDArray = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return result
