"""Changes from the served version to the candidate, with intervals over resampled users: paired, and relative.

A change is relative to the served version's mean, so that a limit means the same for every shop. Slices are tested
together: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2),
1979.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.gate_config import GateConfig
from models.metrics.bootstrap import Estimate, Resamples, interval
from models.metrics.classification import EPSILON
from operations.gate.rows import Quality, Scores

__all__ = ["SliceChange", "calibration_change", "logloss_change", "ndcg_change", "slice_changes"]

# As wide as the other intervals: 2.5% on the side that counts.
ALPHA = 0.025
NUM_BINS = 20

Floats = NDArray[np.float64]


class SliceChange(NamedTuple):
    """A slice: its relative change, and whether that is a loss beyond its limit and beyond chance."""

    name: str
    value: float
    is_worse: bool


def ndcg_change(quality: Quality, limits: GateConfig) -> Estimate:
    """The relative change of the mean NDCG; 0 where nobody finds anything."""
    if not quality.served.any():
        return Estimate(*((0.0 if not quality.candidate.any() else 1.0),) * 3)
    candidate, served = quality.candidate, quality.served
    drawn = np.concatenate([(w @ candidate) / _positive(w @ served) for w in _plan(limits).weights(len(served))])
    return interval(float(candidate.mean() / served.mean()) - 1, drawn - 1)


def logloss_change(scores: Scores, limits: GateConfig) -> Estimate:
    """The relative change of the log loss; a user's rows are drawn together."""
    owner = np.unique(scores.users, return_inverse=True)[1]
    sums = [np.bincount(owner, _losses(scores.labels, given)) for given in (scores.candidate, scores.served)]
    plan = _plan(limits)
    drawn = np.concatenate([(w @ sums[0]) / _positive(w @ sums[1]) for w in plan.weights(len(sums[0]))])
    return interval(float(sums[0].sum() / sums[1].sum()) - 1, drawn - 1)


def calibration_change(scores: Scores, limits: GateConfig) -> Estimate:
    """The change of the expected calibration error, as a share of the share of positives."""
    owner = np.unique(scores.users, return_inverse=True)[1]
    gaps = [_gaps(owner, scores.labels, given) for given in (scores.candidate, scores.served)]
    positives = np.bincount(owner, np.asarray(scores.labels, np.float64))

    def change(weights: Floats) -> Floats:
        errors = [np.abs(weights @ gap).sum(axis=1) for gap in gaps]
        found: Floats = (errors[0] - errors[1]) / _positive(weights @ positives)
        return found

    drawn = np.concatenate([change(w) for w in _plan(limits).weights(len(positives))])
    return interval(float(change(np.ones((1, len(positives))))[0]), drawn)


def slice_changes(quality: Quality, limits: GateConfig) -> list[SliceChange]:
    """The slices that are large enough, each with its change; none is called worse by chance more often than ALPHA."""
    found: list[tuple[str, float, float]] = []
    for name, members in quality.slices.items():
        served = quality.served[members]
        if len(served) >= limits.min_slice_users and served.any():
            found.append((name, *_change(quality.candidate[members], served, -limits.max_slice_loss)))
    worse: set[str] = set()
    for place, (name, _, chance) in enumerate(sorted(found, key=lambda each: each[2])):
        if chance >= ALPHA / (len(found) - place):
            break
        worse.add(name)
    return [SliceChange(name, value, name in worse) for name, value, _ in found]


def _change(candidate: Floats, served: Floats, limit: float) -> tuple[float, float]:
    """The relative change, and the chance of one so low where the true one is at the limit."""
    value = float(candidate.mean() / served.mean()) - 1
    # How much each user moves the ratio of the two means.
    moved = (candidate - (1 + value) * served) / served.mean()
    error = float(moved.std() / math.sqrt(len(served)))
    if error == 0:
        return value, 0.0 if value < limit else 1.0
    return value, 0.5 * math.erfc((limit - value) / error / math.sqrt(2))


def _plan(limits: GateConfig) -> Resamples:
    return Resamples(limits.num_bootstrap, limits.seed)


def _positive(values: Floats) -> Floats:
    """A resample in which nobody has anything is left out."""
    return np.where(values > 0, values, np.nan)


def _losses(labels: NDArray, probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    losses: Floats = -np.where(np.asarray(labels) > 0.5, np.log(clipped), np.log1p(-clipped))
    return losses


def _gaps(owner: NDArray[np.int64], labels: NDArray, probabilities: Floats) -> Floats:
    """Of each user, observed minus predicted in each bin of probabilities: float64 [U, NUM_BINS]."""
    bins = np.minimum((probabilities * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    gaps = np.asarray(labels, np.float64) - probabilities
    users = int(owner.max()) + 1
    return np.bincount(owner * NUM_BINS + bins, gaps, minlength=users * NUM_BINS).reshape(users, -1).astype(np.float64)
