"""Fit both kinds of item-item weights and blend them into the lists that serve."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dataset.features import State
from models.neighbours.config import NeighboursConfig
from models.neighbours.counts import SharedUsers, seen_matrix, thin
from models.neighbours.nearest import sparse_rows
from models.neighbours.ridge import local_ridge
from models.neighbours.walks import walk_weights
from runtime.neighbours import NeighbourLists

__all__ = ["Weights", "fit_weights", "score_matrix", "spread", "to_lists"]


class Weights(msgspec.Struct, frozen=True):
    """Item-item weights of one snapshot, row i holding what the others contribute to item i.

    Attributes:
        regressions: float32 [N, N] for each ridge.
        walks: float32 [N, N] for each power.
    """

    regressions: list[sparse.csr_matrix]
    walks: list[sparse.csr_matrix]


def fit_weights(state: State, config: NeighboursConfig, l2s: Sequence[float], powers: Sequence[float]) -> Weights:
    """Fit the weights on what users have as of one snapshot.

    Args:
        state: of the snapshot.
        config: sizes and powers.
        l2s: a ridge for each regression.
        powers: of popularity, for each kind of walks.
    """
    seen = thin(seen_matrix(state), config.max_pairs, config.seed)
    lengths = np.maximum(np.diff(seen.indptr), 1).astype(np.float32)
    popularity = np.asarray(seen.sum(axis=0), np.float32).ravel()
    user_weights = lengths ** np.float32(-config.user_power)
    counts = SharedUsers(seen, user_weights / user_weights.mean()).all()
    rows, fitted = local_ridge(counts, config.regressed, l2s)
    del counts  # the largest thing here
    damping = np.maximum(popularity, 1.0) ** np.float32(-config.popularity_power)
    regressions = [sparse_rows(rows, values * damping[:, None]) for values in fitted]
    walks = walk_weights(SharedUsers(seen, 1.0 / lengths), popularity, powers, config.walked)
    return Weights(regressions, walks)


def to_lists(weights: sparse.csr_matrix, longest: int) -> NeighbourLists:
    """Weights [N, N] by the scored item -> lists by the contributing item, its `longest` strongest weights each.

    Popular items contribute to thousands of others, and most users have some: cutting their lists made requests several
    times faster and cost no accuracy that could be measured.
    """
    by_source = weights.T.tocsr()
    by_source.sort_indices()
    lengths = np.diff(by_source.indptr)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((-np.abs(by_source.data), owner))
    kept = np.sort(order[np.arange(len(order)) - by_source.indptr[owner] < longest])
    indptr = np.append(0, np.cumsum(np.minimum(lengths, longest)))
    return NeighbourLists(
        indptr.astype(np.int64), by_source.indices[kept].astype(np.int32), by_source.data[kept].astype(np.float32)
    )


def score_matrix(lists: NeighbourLists) -> sparse.csr_matrix:
    """The lists as float32 [N, N]: users' seen items, [B, N], times this matrix are their scores, [B, N]."""
    num_items = len(lists.indptr) - 1
    return sparse.csr_matrix((lists.weights, lists.rows, lists.indptr), shape=(num_items, num_items))


def spread(scores: NDArray[np.float32]) -> float:
    """The standard deviation of scores over users and items; 1 where they are all the same, or none."""
    deviation = float(np.std(scores)) if scores.size else 0.0
    return deviation if deviation > 0 else 1.0
