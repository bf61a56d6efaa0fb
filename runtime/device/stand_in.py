"""NumPy in the place of a GPU: the same results as `runtime.device.kernels`, for tests and rehearsals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.device.kernels import GROUP, Pinned, ScoredItems
from runtime.index.allowed import are_set
from runtime.index.rounding import SCORE_STEP, quantise

__all__ = ["StandIn"]


class StandIn:
    """See `runtime.device.kernels.Kernels`."""

    def maxima_of_scores(self, scores: NDArray, items: ScoredItems, first: int, out: NDArray) -> None:
        """See Kernels."""
        shown = are_set(items.bitmap, np.arange(first, first + scores.shape[1]))
        values = np.where(shown, quantise(scores, SCORE_STEP), np.float32(-np.inf))
        groups = slice(first // GROUP, (first + scores.shape[1]) // GROUP)
        out[:, groups] = values.reshape(len(scores), -1, GROUP).max(axis=2)

    def maxima_of_tiles(self, queries: NDArray, items: ScoredItems, out: NDArray) -> None:
        """See Kernels."""
        for number, chunk in enumerate(items.embeddings):
            self.maxima_of_scores(queries @ chunk.astype(np.float32), items, number * chunk.shape[1], out)

    def refresh_maxima(
        self, queries: NDArray, items: ScoredItems, users: NDArray, groups: NDArray, out: NDArray
    ) -> None:
        """See Kernels."""
        if len(users):
            out[users, groups] = self._of_groups(queries, items, users, groups).max(axis=1)

    def group_scores(
        self, queries: NDArray, items: ScoredItems, groups: NDArray
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """See Kernels."""
        users = np.repeat(np.arange(len(groups)), groups.shape[1])
        rows = np.where(groups[:, :, None] < 0, -1, groups[:, :, None] * GROUP + np.arange(GROUP))
        scores = self._of_groups(queries, items, users, groups.ravel())
        return rows.reshape(len(groups), -1).astype(np.int32), scores.reshape(len(groups), -1)

    def pick(self, places: NDArray, rows: NDArray, scores: NDArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """See Kernels."""
        found = (np.take_along_axis(array, np.maximum(places, 0), axis=1) for array in (rows, scores))
        best, of_best = (np.where(places >= 0, array, none) for array, none in zip(found, (-1, -np.inf), strict=True))
        return best.astype(np.int32), of_best.astype(np.float32)

    def _of_groups(self, queries: NDArray, items: ScoredItems, users: NDArray, groups: NDArray) -> NDArray[np.float32]:
        """Scores [P, GROUP] of pairs of a user and a group."""
        rows = np.maximum(groups, 0)[:, None].astype(np.int64) * GROUP + np.arange(GROUP)
        users = np.broadcast_to(users[:, None].astype(np.int64), rows.shape)
        scores = self.pair_scores(queries, items.embeddings, users.ravel(), rows.ravel()).reshape(rows.shape)
        width = items.num_groups * GROUP
        owners = np.repeat(np.arange(len(items.starts) - 1), np.diff(items.starts))
        hidden = np.isin(users * width + rows, owners * width + items.blocked)
        scores[hidden | ~are_set(items.bitmap, rows) | (groups < 0)[:, None]] = -np.inf
        return scores

    def pair_scores(self, queries: NDArray, embeddings: NDArray, users: NDArray, rows: NDArray) -> NDArray[np.float32]:
        """See Kernels."""
        chunk = embeddings.shape[2]
        return _added_up(queries, embeddings[rows // chunk, :, rows % chunk].astype(np.float32), users)

    def row_scores(self, queries: NDArray, table: Pinned, users: NDArray, rows: NDArray) -> NDArray[np.float32]:
        """See Kernels."""
        return _added_up(queries, table.array[rows], users)

    def segment_sums(self, values: NDArray, starts: NDArray) -> NDArray[np.float32]:
        """See Kernels."""
        if not len(starts):
            return np.zeros(0, np.float32)
        segments = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
        return np.bincount(segments, values, len(starts)).astype(np.float32)

    def best(self, values: NDArray, count: int, ties: NDArray | None = None) -> NDArray[np.int32]:
        """See Kernels."""
        places = np.broadcast_to(np.arange(values.shape[1]), values.shape) if ties is None else ties
        order = np.lexsort((places, -values))[:, :count]
        out = np.full((len(values), count), -1, np.int32)
        chosen = np.take_along_axis(values, order, axis=1) > -np.inf
        out[:, : order.shape[1]] = np.where(chosen, order, -1)
        return out


def _added_up(queries: NDArray, vectors: NDArray[np.float32], users: NDArray) -> NDArray[np.float32]:
    """Inner products of queries[users] and vectors, each from the first dimension to the last."""
    sums = np.zeros(len(vectors), np.float32)
    for d in range(vectors.shape[1]):
        sums += queries[users, d] * vectors[:, d]
    return quantise(sums, SCORE_STEP)
