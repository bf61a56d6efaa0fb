"""Pair features: what the ranker sees of a user and a candidate together. NumPy alone: the server runs it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NEIGHBOUR_SCORE",
    "PAIR_FEATURES",
    "POPULARITY",
    "SHARE",
    "STREAM",
    "STREAM_KNOWN",
    "TOWER_SCORE",
    "pair_features",
    "popularity_values",
]

TOWER_SCORE, NEIGHBOUR_SCORE, POPULARITY = "tower_score", "neighbour_score", "popularity"
# Before the names of stream features of items; and whether they are known: all of them are 0 where the state is away.
STREAM, STREAM_KNOWN = "stream.", "stream_known"
# Before the names of shares of the history.
SHARE = "share."
PAIR_FEATURES = (TOWER_SCORE, NEIGHBOUR_SCORE, POPULARITY)


def pair_features(
    names: Sequence[str],
    candidates: NDArray,
    scores: Mapping[str, NDArray],
    popularity: NDArray | None = None,
) -> NDArray[np.float32]:
    """Stack the named pair features of every (user, candidate).

    Args:
        names: which features in which order, `pair_inputs` of ranking/meta.json; none gives P = 0.
        candidates: int [B, C] item rows, -1 padded.
        scores: "tower_score", the inner product of query and item embedding, and "neighbour_score", the sum of the
            item-item weights over what the user has; stream features of the candidates; float32 [B, C] each, needed
            where named.
        popularity: float32 [N], item_popularity.npy; needed for "popularity".

    Returns:
        float32 [B, C, P], 0 where there is no candidate.

    Raises:
        ValueError: a name is unknown or its array was not given.
    """
    pairs = np.zeros((*candidates.shape, len(names)), np.float32)
    for position, name in enumerate(names):
        if name in scores:
            pairs[..., position] = scores[name]
        elif name == POPULARITY and popularity is not None:
            pairs[..., position] = popularity[candidates]
        else:
            raise ValueError(f"pair feature {name!r}: expected one of {PAIR_FEATURES} with the arrays it needs")
    if names:
        pairs[candidates < 0] = 0.0
    return pairs


def popularity_values(counts: NDArray) -> NDArray[np.float32]:
    """log(1 + N * count / total), float32 [N]: free of the log's length, so that training and serving agree."""
    values: NDArray[np.float32] = np.log1p(counts * (len(counts) / max(float(counts.sum()), 1.0))).astype(np.float32)
    return values
