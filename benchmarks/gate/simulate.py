"""A candidate and a served version as they differ in real runs: per-user NDCG, and probabilities of the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operations.gate.rows import Evidence, Quality, Scores

__all__ = ["NOISE", "evidence"]

DAY_NS = 86_400 * 10**9
# The spread of the per-user difference of two trainings that differ in the seed alone, as a share of the per-user
# spread: .0551 / .1768 on the simulated shop.
NOISE = 0.31
LOGIT_NOISE = 0.05
ROWS_A_USER = 4
NUM_SLICES = 8

Floats = NDArray[np.float64]


def evidence(ndcg: Floats, num_users: int, gain: float, seed: int) -> Evidence:
    """One candidate.

    Args:
        ndcg: of real users, float64 [V]; the simulated ones are drawn from them.
        num_users: U.
        gain: of its mean NDCG, relative: hits added, or lost.
        seed: of every draw.
    """
    rng = np.random.default_rng(seed)
    served = rng.choice(ndcg, num_users)
    # A value drawn anew differs by twice the variance.
    anew = rng.random(num_users) < NOISE**2 / 2
    candidate = np.where(anew, rng.choice(ndcg, num_users), served)
    return Evidence(
        newest=(20_000 * DAY_NS, 19_999 * DAY_NS),
        targets=[],
        quality=Quality(_shifted(candidate, ndcg, gain, rng), served, _slices(num_users, rng), "simulated"),
        scores=_scores(num_users, rng),
        num_compared=1,
        num_differing=0,
        served_age_days=1.0,
    )


def _shifted(candidate: Floats, ndcg: Floats, gain: float, rng: np.random.Generator) -> Floats:
    """Hits lost by chance, or added to users without any."""
    if gain < 0:
        return np.where(rng.random(len(candidate)) < -gain, 0.0, candidate)
    hits = ndcg[ndcg > 0]
    share = len(hits) / len(ndcg)
    added = (candidate == 0) & (rng.random(len(candidate)) < gain * share / (1 - share))
    return np.where(added, rng.choice(hits, len(candidate)), candidate)


def _slices(num_users: int, rng: np.random.Generator) -> dict[str, NDArray[np.bool_]]:
    """Parts of unequal size, as those by length of history are."""
    part = np.minimum(rng.geometric(0.35, num_users), NUM_SLICES)
    return {f"part_{number}": part == number for number in range(1, NUM_SLICES + 1)}


def _scores(num_users: int, rng: np.random.Generator) -> Scores:
    """Both are right on the mean, and each is off in its own way."""
    num_rows = num_users * ROWS_A_USER
    logit = rng.normal(-2.2, 1.0, num_rows)
    labels = (rng.random(num_rows) < _sigmoid(logit)).astype(np.float64)
    candidate, served = (_sigmoid(logit + rng.normal(0, LOGIT_NOISE, num_rows)) for _ in range(2))
    return Scores(labels, candidate, served, np.arange(num_rows) // ROWS_A_USER)


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)), np.float64)
