"""Platt scaling: two numbers that turn logits of a listwise loss into probabilities and keep their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_platt"]

MAX_STEPS = 100
MIN_FACTOR = 1e-3


def fit_platt(labels: NDArray, logits: NDArray) -> tuple[float, float]:
    """Factor and offset of sigmoid(factor * z + offset) that maximise the likelihood, by Newton's method.

    Args:
        labels: [R], 1 or 0.
        logits: [R].

    Returns:
        (factor, offset), the factor positive so that the order stays; (1, 0) where the labels have one value only.

    Reference: Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    labels, logits = np.asarray(labels, np.float64), np.asarray(logits, np.float64)
    if labels.min(initial=1) == labels.max(initial=0):
        return 1.0, 0.0
    # Standardised, or the Newton system is badly scaled.
    mean, spread = logits.mean(), max(float(logits.std()), 1e-12)
    inputs = np.stack([(logits - mean) / spread, np.ones_like(logits)], axis=1)
    share = labels.mean()
    found = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(MAX_STEPS):
        predicted = 0.5 * (1 + np.tanh(0.5 * inputs @ found))
        gradient = inputs.T @ (labels - predicted)
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        change = np.linalg.solve(curvature, gradient)
        found += np.clip(change, -2.0, 2.0)
        if np.abs(change).max() < 1e-9:
            break
    factor = max(float(found[0]) / spread, MIN_FACTOR)
    return factor, float(found[1] - factor * mean)
