"""Differences of two models' probabilities on the same rows, with intervals over resampled users.

A user's rows are drawn together, since they are not independent. Under row weights w the AUC counts pairs of a positive
and a negative with the product of their weights, and the log loss is the weighted mean.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Estimate, Resamples, interval
from models.metrics.classification import EPSILON

__all__ = ["Scored", "paired_differences", "within_users"]

Floats = NDArray[np.float64]


class Scored(msgspec.Struct, frozen=True):
    """Rows with their probabilities, ready to be measured under many weights.

    Attributes:
        labels: bool [R].
        places: int64 [R], the rank of each row's probability among the distinct ones.
        losses: float64 [R], -ln of the probability of what happened.
    """

    labels: NDArray[np.bool_]
    places: NDArray[np.int64]
    losses: Floats

    @classmethod
    def of(cls, labels: NDArray, probabilities: NDArray) -> Scored:
        """Sort once: labels [R], 1 or 0, and probabilities [R]."""
        positive = np.asarray(labels) > 0.5
        clipped = np.clip(np.asarray(probabilities, np.float64), EPSILON, 1 - EPSILON)
        losses = -np.where(positive, np.log(clipped), np.log1p(-clipped))
        return cls(positive, np.unique(probabilities, return_inverse=True)[1], losses)

    def auc(self, weights: Floats) -> float:
        """Area under the ROC curve under row weights [R]; NaN where one label value has no weight."""
        positives = np.bincount(self.places, weights * self.labels)
        negatives = np.bincount(self.places, weights * ~self.labels)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs else float("nan")

    def logloss(self, weights: Floats) -> float:
        """Mean log loss under row weights [R]."""
        return float(weights @ self.losses / weights.sum())


def paired_differences(ours: Scored, other: Scored, users: NDArray, resamples: Resamples) -> dict[str, Estimate]:
    """AUC and log loss of ours minus the other's.

    Args:
        ours: of R rows.
        other: of the same rows in the same order.
        users: [R], whose row it is.
        resamples: the plan.

    Returns:
        "auc" (positive: ours is better) and "logloss" (negative: ours is better).
    """
    owner = np.unique(users, return_inverse=True)[1]

    def gaps(weights: Floats) -> tuple[float, float]:
        return ours.auc(weights) - other.auc(weights), ours.logloss(weights) - other.logloss(weights)

    drawn = np.array([gaps(row[owner]) for weights in resamples.weights(int(owner.max()) + 1) for row in weights])
    means = gaps(np.ones(len(owner)))
    return {name: interval(means[place], drawn[:, place]) for place, name in enumerate(("auc", "logloss"))}


def within_users(labels: NDArray, scores: NDArray, owner: NDArray[np.int64], weights: Floats) -> tuple[Floats, Floats]:
    """How much of the pairs of a positive and a negative row of one user the scores order right; ties count one half.

    Args:
        labels: [R], 1 or 0.
        scores: [R], larger is more likely.
        owner: int64 [R], whose row it is, 0 to U - 1, each with a row.
        weights: float64 [R]; a pair weighs the product of its rows'.

    Returns:
        float64 [U] each: the weight of the pairs in the right order, and of all pairs. Their sums over users give the
        AUC within users.
    """
    order = np.lexsort((scores, owner))
    user, score, weight = owner[order], np.asarray(scores)[order], weights[order]
    positive = np.asarray(labels)[order] > 0.5
    first = np.searchsorted(user, np.arange(int(user[-1]) + 1))
    negatives = np.append(0.0, np.cumsum(np.where(positive, 0.0, weight)))
    is_new = np.append(True, (user[1:] != user[:-1]) | (score[1:] != score[:-1]))
    tie = np.cumsum(is_new) - 1
    starts = np.flatnonzero(is_new)
    ends = np.append(starts[1:], len(user))
    below = negatives[starts[tie]] - negatives[first[user]]
    equal = negatives[ends[tie]] - negatives[starts[tie]]
    all_of = np.append(first[1:], len(user))
    total = (negatives[all_of] - negatives[first])[user]
    won = np.bincount(user, np.where(positive, weight * (below + equal / 2), 0.0))
    pairs = np.bincount(user, np.where(positive, weight * total, 0.0))
    return won.astype(np.float64), pairs.astype(np.float64)
