"""The ranker on its own: how well its probabilities separate and how well they are calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Estimate
from models.metrics.classification import auc, expected_calibration_error, log_loss

__all__ = ["calibration_quality", "classification_quality", "reliability_table"]

NUM_BINS = 15


def classification_quality(labels: NDArray, probabilities: NDArray) -> dict[str, Any]:
    """AUC, log loss and calibration of some rows.

    Args:
        labels: [R], 0 or 1.
        probabilities: [R], in 0..1.

    Returns:
        The "ranker" record of metrics.json; {"skipped": reason} where there are no rows, or their labels
        have one value only.
    """
    num_rows, share = len(labels), float(np.mean(labels)) if len(labels) else 0.0
    if not num_rows:
        return {"skipped": "The ranker cannot be measured: the test split has no row that it could be measured on."}
    if not 0.0 < share < 1.0:
        return {"skipped": f"The ranker cannot be measured: its {num_rows} test rows have one label value only."}
    return {
        "num_rows": num_rows,
        "positive_share": share,
        "mean_probability": float(np.mean(probabilities, dtype=np.float64)),
        "auc": float(auc(labels, probabilities)),
        "logloss": float(log_loss(labels, probabilities)),
        "constant_logloss": float(-(share * np.log(share) + (1 - share) * np.log(1 - share))),
        "expected_calibration_error": float(expected_calibration_error(labels, probabilities)),
        "reliability": reliability_table(labels, probabilities),
    }


def calibration_quality(gap: Estimate, quality: Mapping[str, Any]) -> dict[str, Any]:
    """The difference between predicted and observed, and a warning where it is beyond chance.

    Args:
        gap: mean probability minus observed share, of `models.metrics.calibration`.
        quality: of the same rows, from `classification_quality`.

    Returns:
        "calibration_gap" and "warning", a sentence or None.
    """
    low, high, warning = gap.low, gap.high, None
    if low is not None and high is not None and not low <= 0.0 <= high:
        warning = (
            f"The ranker's probabilities are too {'high' if gap.value > 0 else 'low'} on the test split: "
            f"{quality['mean_probability']:.4f} on the mean, {quality['positive_share']:.4f} observed, a difference of "
            f"{gap.value:+.4f} (95% interval {low:+.4f} to {high:+.4f} over users), which is beyond chance. The order "
            "of a slate does not depend on it; where probabilities are used as they are, train on newer events or "
            "correct them."
        )
    return {"calibration_gap": msgspec.to_builtins(gap), "warning": warning}


def reliability_table(labels: NDArray, probabilities: NDArray, num_bins: int = NUM_BINS) -> list[dict[str, float]]:
    """Predicted against observed, in bins of equally many rows by ascending probability.

    Args:
        labels: [R], 0 or 1.
        probabilities: [R].
        num_bins: bins; fewer where there are fewer rows.

    Returns:
        Per bin: "low" and "high" probability, "num_rows", mean "predicted" and "observed" share of positives.
    """
    order = np.argsort(probabilities, kind="stable")
    table = []
    for rows in np.array_split(order, min(num_bins, len(order))):
        inside = probabilities[rows]
        table.append(
            {
                "low": float(inside[0]),
                "high": float(inside[-1]),
                "num_rows": len(rows),
                "predicted": float(np.mean(inside, dtype=np.float64)),
                "observed": float(np.mean(labels[rows], dtype=np.float64)),
            }
        )
    return table
