"""How close a slate is to the best possible one, where the simulated shop states the true probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.queries import Queries
from models.baselines.base import top_k
from models.dataset.features import State
from models.metrics.ranking import discounts

__all__ = ["Probability", "best_allowed", "share_of_best"]

CHUNK_CELLS = 2_000_000

# query numbers [B] -> true probability of every item of the catalogue, float32 [B, N]
Probability = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def share_of_best(
    slates: Mapping[str, NDArray[np.int32]],
    queries: Queries,
    probability: Probability,
    *,
    measured: NDArray[np.int64],
    state: State | None,
    eligible: NDArray[np.bool_],
    cutoffs: Sequence[int],
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Discounted expected positives of every slate over those of the ideal slate.

    share_of_best@k = sum_{j<=k} p(slate_j) / log2(j + 1) over the same sum for the ideal slate: the eligible, unseen
    items with the highest true probability, best first. No model can pass 1, and unlike recall it does not depend on
    which clicks chance let happen.

    Args:
        slates: source -> item rows [Q, K].
        queries: the Q queries.
        probability: the truth.
        measured: query numbers.
        state: seen items, never part of the ideal slate; None where seen items may be shown.
        eligible: [N].
        cutoffs: every k.

    Returns:
        source -> "share_of_best@k" -> float64 [Q], NaN for the other queries.
    """
    longest = max(cutoffs)
    table = {source: {f"share_of_best@{k}": np.full(len(queries), np.nan) for k in cutoffs} for source in [*slates]}
    step = max(1, CHUNK_CELLS // len(eligible))
    for start in range(0, len(measured), step):
        part = measured[start : start + step]
        truth = probability(part)
        ideal_rows = best_allowed(truth, queries.user_rows[part], state, eligible, longest)[0]
        best = _gains(truth, ideal_rows, longest)
        for source, rows in slates.items():
            got = _gains(truth, rows[part], longest)
            for k in cutoffs:
                ideal = best[:, k - 1]
                table[source][f"share_of_best@{k}"][part] = np.divide(
                    got[:, k - 1], ideal, out=np.full(len(part), np.nan), where=ideal > 0
                )
    return table


def best_allowed(
    scores: NDArray, user_rows: NDArray, state: State | None, eligible: NDArray[np.bool_], length: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The eligible items with the highest scores, without those that a user has seen, and their scores.

    Args:
        scores: [B, N].
        user_rows: int64 [B].
        state: seen items; None where they may be shown.
        eligible: [N].
        length: K.

    Returns:
        As `top_k`: [B, K] each.
    """
    allowed = np.where(eligible, scores, -np.inf).astype(np.float32)
    if state is not None:
        allowed[state.seen_pairs(user_rows)] = -np.inf
    return top_k(allowed, length)


def _gains(truth: NDArray[np.float32], rows: NDArray[np.int32], length: int) -> NDArray[np.float64]:
    """Discounted probability summed up to every position; float64 [B, length], rows shorter than that add nothing."""
    gains = np.zeros((len(rows), length))
    rows = rows[:, :length]
    shown = np.take_along_axis(truth, np.maximum(rows, 0).astype(np.int64), axis=1)
    gains[:, : rows.shape[1]] = np.where(rows >= 0, shown, 0.0) * discounts(rows.shape[1])
    return np.asarray(np.cumsum(gains, axis=1))
