"""Evidence on a candidate that is a little better or worse than the served version, without any run."""

from __future__ import annotations

import numpy as np

from operations.gate.rows import Evidence, Quality, Scores
from operations.shadow.measure import Change, Shadow

__all__ = ["DAY_NS", "SHADOW", "evidence", "quality", "scores"]

DAY_NS = 86_400 * 10**9
# Worse than before in everything, by a little.
SHADOW = Shadow(
    candidate="version 2",
    num_requests=6_000,
    num_slates=6_000,
    left_out={},
    num_errors=0,
    errors={},
    overlap_at_k=0.9,
    k=10,
    rbo=0.9,
    score_js=0.01,
    paths={},
    empty=Change(0.0, 0.01),
    short=Change(0.0, 0.01),
    cpu_ms=Change(2.0, 2.6),
    num_items=Change(1_000, 800),
    items={},
    categories={"red": Change(5_000, 4_900), "blue": Change(1_000, 300)},
    cpu_low=0.2,
    cpu_high=0.4,
)


def quality(gain: float, num_users: int = 4_000, noise: float = 0.05, seed: int = 1) -> Quality:
    """NDCG with hits added or lost, so that the mean changes by about that share."""
    rng = np.random.default_rng(seed)
    served = np.where(rng.random(num_users) < 0.4, rng.random(num_users), 0.0)
    candidate = served.copy()
    anew = rng.random(num_users) < noise
    candidate[anew] = rng.permutation(served)[anew]
    if gain < 0:
        candidate[rng.random(num_users) < -gain] = 0.0
    else:
        hits = served > 0
        none = (candidate == 0) & (rng.random(num_users) < gain * hits.mean() / (1 - hits.mean()))
        candidate[none] = rng.choice(served[hits], int(none.sum()))
    slices = {f"part {part}": np.arange(num_users) % 4 == part for part in range(4)}
    slices["few"] = np.arange(num_users) < 20
    return Quality(candidate, served, slices, "made")


def scores(worse: float, num_rows: int = 6_000, seed: int = 2) -> Scores:
    """Probabilities that are right, and the candidate's, off by so much in the logit."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 1, num_rows)
    right = 1 / (1 + np.exp(-logit))
    off = 1 / (1 + np.exp(-(logit + worse)))
    labels = (rng.random(num_rows) < right).astype(np.float64)
    return Scores(labels, off, right, np.arange(num_rows) // 3)


def evidence(gain: float = 0.0, worse: float = 0.0, **other: object) -> Evidence:
    """All of it; everything else holds."""
    given: dict[str, object] = {
        "newest": (20_000 * DAY_NS, 19_999 * DAY_NS),
        "targets": [{"name": "a line", "value": 0.5, "target": 0.4, "met": True, "missing": None}],
        "quality": quality(gain),
        "scores": scores(worse),
        "num_compared": 16,
        "num_differing": 0,
        "served_age_days": 20.0,
    }
    return Evidence(**(given | other))  # type: ignore[arg-type]
