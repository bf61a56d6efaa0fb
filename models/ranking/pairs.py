"""Pair features: what the ranker sees of a user and a candidate together. NumPy alone: the server runs it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NEIGHBOURS",
    "PAIR_FEATURES",
    "POPULARITY",
    "RETRIEVAL_SCORE",
    "neighbour_scores",
    "pair_features",
    "popularity_values",
]

RETRIEVAL_SCORE, POPULARITY, NEIGHBOURS = "retrieval_score", "popularity", "neighbours"
PAIR_FEATURES = (RETRIEVAL_SCORE, POPULARITY, NEIGHBOURS)


def pair_features(
    names: Sequence[str],
    candidates: NDArray,
    retrieval_score: NDArray,
    owned: Sequence[NDArray],
    popularity: NDArray | None = None,
    neighbour_rows: NDArray | None = None,
    neighbour_weights: NDArray | None = None,
) -> NDArray[np.float32]:
    """Stack the named pair features of every (user, candidate).

    Args:
        names: which features in which order, `pair_inputs` of ranking/meta.json; none gives P = 0.
        candidates: int [B, C] item rows, -1 padded.
        retrieval_score: float32 [B, C], inner product of query and item embedding.
        owned: B arrays of item rows, the user's seen items and the recent items of the request; -1 is ignored.
        popularity: float32 [N], item_popularity.npy; needed for "popularity".
        neighbour_rows: int32 [N, K], -1 padded; needed for "neighbours".
        neighbour_weights: float32 [N, K]; needed for "neighbours".

    Returns:
        float32 [B, C, P], 0 where there is no candidate. The values of one user do not depend on the other users.

    Raises:
        ValueError: a name is unknown or its array was not given.
    """
    pairs = np.zeros((*candidates.shape, len(names)), np.float32)
    for position, name in enumerate(names):
        if name == RETRIEVAL_SCORE:
            pairs[..., position] = retrieval_score
        elif name == POPULARITY and popularity is not None:
            pairs[..., position] = popularity[candidates]
        elif name == NEIGHBOURS and neighbour_rows is not None and neighbour_weights is not None:
            pairs[..., position] = neighbour_scores(candidates, owned, neighbour_rows, neighbour_weights)
        else:
            raise ValueError(f"pair feature {name!r}: expected one of {PAIR_FEATURES} with the arrays it needs")
    pairs[candidates < 0] = 0.0
    return pairs


def neighbour_scores(
    candidates: NDArray, owned: Sequence[NDArray], neighbour_rows: NDArray, neighbour_weights: NDArray
) -> NDArray[np.float32]:
    """Sum, over the neighbours of a candidate that the user owns, of their weights; float32 [B, C].

    Cost C * K a user however many items the user owns. An owned item counts once.
    """
    num_items = len(neighbour_rows)
    # One more entry, always false: where -1, "no neighbour", points to.
    is_owned = np.zeros(num_items + 1, bool)
    scores = np.zeros(candidates.shape, np.float32)
    for user, rows in enumerate(owned):
        rows = rows[rows >= 0]
        if not len(rows):
            continue
        is_owned[rows] = True
        of_user = candidates[user]
        held = is_owned[neighbour_rows[of_user]]
        scores[user] = np.where(held, neighbour_weights[of_user], np.float32(0)).sum(axis=1)
        is_owned[rows] = False
    scores[candidates < 0] = 0.0
    return scores


def popularity_values(counts: NDArray) -> NDArray[np.float32]:
    """log(1 + N * count / total), float32 [N]: free of the log's length, so that training and serving agree."""
    values: NDArray[np.float32] = np.log1p(counts * (len(counts) / max(float(counts.sum()), 1.0))).astype(np.float32)
    return values
