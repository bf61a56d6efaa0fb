"""The ranker on its own: how well its probabilities separate and how well they are calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics.classification import auc, expected_calibration_error, log_loss

__all__ = ["classification_quality", "reliability_table"]

NUM_BINS = 15


def classification_quality(labels: NDArray, probabilities: NDArray) -> dict[str, Any]:
    """AUC, log loss and calibration of some rows.

    Args:
        labels: [R], 0 or 1.
        probabilities: [R], in 0..1.

    Returns:
        The "ranker" record of metrics.json; {"skipped": reason} where the labels have one value only.
    """
    num_rows, share = len(labels), float(np.mean(labels)) if len(labels) else 0.0
    if not 0.0 < share < 1.0:
        return {"skipped": f"The ranker cannot be measured: its {num_rows} test rows have one label value only."}
    return {
        "num_rows": num_rows,
        "positive_share": share,
        "auc": float(auc(labels, probabilities)),
        "logloss": float(log_loss(labels, probabilities)),
        "constant_logloss": float(-(share * np.log(share) + (1 - share) * np.log(1 - share))),
        "expected_calibration_error": float(expected_calibration_error(labels, probabilities)),
        "reliability": reliability_table(labels, probabilities),
    }


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
