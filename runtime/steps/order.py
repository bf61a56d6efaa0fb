"""Step 5: ranking scores -> the slate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.ids import NO_ITEM
from runtime.spec import LIVE_AGE, LIVE_OFFSET, PATHS, POPULARITY, ChainSpec, Tensor
from runtime.step import Arrays, Step, load_array

__all__ = ["Order"]

# exp(80) is still a float32; no model gives a lower logit.
LOWEST_LOGIT = np.float32(-80)


class Order(Step):
    """Order by score, descending, ties by id; cut to the slate; rows become raw ids and logits probabilities.

    Args:
        score: what orders the candidates.
        is_logit: whether it becomes a probability; else it is given as it is.
    """

    name = "order"

    def __init__(self, score: str = "ranking_score", is_logit: bool = True) -> None:
        super().__init__(score=score, is_logit=is_logit)
        self._score, self._is_logit = score, is_logit

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        self._ids = load_array(folder / "ids/items.npy")
        self._is_text = self._ids.dtype.kind == "S"
        self._paths = np.array([path.encode() for path in PATHS], object)

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The candidates with their scores, the path and the size of the slate."""
        return (
            Tensor("candidates", "INT32", spec.num_candidates),
            Tensor(self._score, "FP32", spec.num_candidates),
            Tensor("path_code", "INT32"),
            Tensor("num_wanted", "INT32"),
            *([Tensor(LIVE_OFFSET, "INT64"), Tensor(LIVE_AGE, "INT64")] if spec.live else []),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The response."""
        return spec.response

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The raw item ids."""
        return ("ids/items.npy",)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, C] candidates -> [B, S], S being the largest slate asked for; padding is -1 or b"" with score 0."""
        rows, scores, wanted = batch["candidates"], batch[self._score], batch["num_wanted"]
        size = min(int(wanted.max()), rows.shape[1])
        descending = -scores
        descending[rows == NO_ITEM] = np.inf
        best = np.empty((len(rows), size), np.int64)
        for user in range(len(rows)):
            # Places in the flattened batch: one gather then takes them all.
            np.add(first(rows[user], descending[user], size), user * rows.shape[1], out=best[user])
        rows, shown = rows.take(best), scores.take(best)  # (B, S)
        kept = (rows != NO_ITEM) & (np.arange(size) < wanted)
        shown = self._probabilities(shown, batch["path_code"] == POPULARITY) * kept
        live = {"stream_offset": batch[LIVE_OFFSET], "state_age_ms": batch[LIVE_AGE]} if self._spec.live else {}
        return {
            "item_id": self._raw_ids(rows, kept),
            "score": shown,
            "num_items": np.count_nonzero(kept, axis=1, keepdims=True).astype(np.int32),
            "path": self._paths[batch["path_code"]],
            **live,
        }

    def _probabilities(self, scores: NDArray, is_popular: NDArray) -> NDArray:
        """The scores of logits, [B, S]; those of the popularity path are none."""
        if not self._is_logit:
            return scores
        return np.where(is_popular, scores, sigmoid(scores)) if is_popular.any() else sigmoid(scores)

    def _raw_ids(self, rows: NDArray, kept: NDArray) -> NDArray:
        """int64 or objects of bytes, [B, S]."""
        ids: NDArray = self._ids[rows]
        if self._is_text:
            ids = ids.astype(object)
        ids[~kept] = b"" if self._is_text else -1
        return ids


def first(rows: NDArray, values: NDArray, count: int) -> NDArray[np.int64]:
    """Places of the `count` lowest values [C], ascending, ties by row."""
    places = np.arange(len(values))
    if count < len(values):
        # Few are left to be sorted: sorting all of them would take longer than everything else here.
        places = np.flatnonzero(values <= np.partition(values, count - 1)[count - 1])
    order: NDArray[np.int64] = np.lexsort((rows[places], values[places]))[:count]
    return places[order]


def sigmoid(logits: NDArray) -> NDArray:
    """1 / (1 + exp(-x)), float32, without overflow."""
    result: NDArray = np.exp(-np.maximum(logits, LOWEST_LOGIT))
    result += 1
    np.reciprocal(result, out=result)
    return result
