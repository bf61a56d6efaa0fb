"""Logistic regressions that see the history: what follows a push, and what happens without one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.send_gate.arithmetic import chance

__all__ = ["fit_logistic", "fit_ridge"]

Floats = NDArray[np.float64]
MAX_STEPS, MAX_HALVINGS, ENOUGH, BLOCK_ROWS = 50, 30, 1e-6, 50_000


def fit_logistic(inputs: Floats, labels: NDArray, penalty: float) -> Floats:
    """Weights, float64 [F], that maximise the likelihood less penalty / 2 times their squares, by Newton's method.

    Args:
        inputs: [R, F], the first column 1; it has no penalty.
        labels: [R], 0 or 1.
        penalty: above 0.
    """
    labels = np.asarray(labels, np.float64)
    weights = np.zeros(inputs.shape[1])
    share = np.clip(labels.mean(), 1e-6, 1 - 1e-6) if len(labels) else 0.5
    weights[0] = np.log(share / (1 - share))
    held = np.full(len(weights), penalty)
    held[0] = 1e-6
    for _ in range(MAX_STEPS):
        gradient, curvature = -held * weights, np.diag(held)
        for start in range(0, len(labels), BLOCK_ROWS):
            part = inputs[start : start + BLOCK_ROWS]
            found = chance(part, weights)
            gradient += part.T @ (labels[start : start + BLOCK_ROWS] - found)
            curvature += (part * (found * (1 - found))[:, None]).T @ part
        change = np.linalg.solve(curvature, gradient)
        weights, found_better = _along(inputs, labels, held, weights, change)
        if not found_better or np.abs(change).max() < ENOUGH:
            break
    return weights


def _along(inputs: Floats, labels: Floats, held: Floats, weights: Floats, change: Floats) -> tuple[Floats, bool]:
    """The longest of ever halved steps that does not lose likelihood: of rare labels a whole one may lead far away."""
    before = _objective(inputs, labels, held, weights)
    for halvings in range(MAX_HALVINGS):
        tried = weights + change / 2.0**halvings
        if _objective(inputs, labels, held, tried) >= before:
            return tried, True
    return weights, False


def _objective(inputs: Floats, labels: Floats, held: Floats, weights: Floats) -> float:
    z = inputs @ weights
    return float(labels @ z - np.logaddexp(0.0, z).sum() - 0.5 * (held * weights**2).sum())


def fit_ridge(inputs: Floats, values: Floats, penalty: float) -> Floats:
    """Weights, float64 [F], of the least squares with a penalty on all but the first."""
    held = np.full(inputs.shape[1], penalty)
    held[0] = 1e-6
    return np.asarray(np.linalg.solve(inputs.T @ inputs + np.diag(held), inputs.T @ values))
