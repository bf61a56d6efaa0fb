"""How good predicted probabilities are: ordering (AUC), log loss and calibration.

    AUC     = P(a positive scores above a negative), ties count one half (the rank-sum statistic)
    logloss = -mean(y ln p + (1 - y) ln(1 - p)), p clipped to [EPSILON, 1 - EPSILON]
    ECE     = sum over bins of (rows of the bin / rows) * |mean y - mean p|, bins of equal width over [0, 1]

References: Hanley and McNeil, Radiology 143(1), 1982 (AUC); Naeini et al., AAAI 2015 (expected calibration error).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc", "classification_metrics", "expected_calibration_error", "log_loss"]

EPSILON = 1e-7


def auc(labels: NDArray, scores: NDArray) -> float:
    """Area under the ROC curve.

    Args:
        labels: [R], 1 or 0.
        scores: [R], any monotone score.

    Returns:
        A value in [0, 1]; NaN where the labels have one value only.
    """
    positive = np.asarray(labels) > 0.5
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    if not num_positives or not num_negatives:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_ranks[places][positive].sum())
    return (rank_sum - num_positives * (num_positives + 1) / 2) / (num_positives * num_negatives)


def log_loss(labels: NDArray, probabilities: NDArray) -> float:
    """Mean negative log likelihood, natural logarithm; NaN without rows."""
    labels = np.asarray(labels, np.float64)
    if not len(labels):
        return float("nan")
    clipped = np.clip(np.asarray(probabilities, np.float64), EPSILON, 1 - EPSILON)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def expected_calibration_error(labels: NDArray, probabilities: NDArray, num_bins: int = 20) -> float:
    """Mean distance between predicted and observed frequency over equally wide bins; NaN without rows."""
    labels, probabilities = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    if not len(labels):
        return float("nan")
    bins = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, labels - probabilities, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(labels))


def classification_metrics(labels: NDArray, probabilities: NDArray) -> dict[str, float]:
    """All of the above by name, with `positive_share` and `mean_probability` beside them.

    Args:
        labels: [R], 1 or 0.
        probabilities: [R] in [0, 1].
    """
    return {
        "auc": auc(labels, probabilities),
        "logloss": log_loss(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "positive_share": float(np.mean(labels)),
        "mean_probability": float(np.mean(probabilities)),
    }
