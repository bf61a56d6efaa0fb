"""Estimators for one action a row: r is what it earned, w its probability under the target over the logged one.

With q(x, a) a model of the reward and v(x) the mean of q over the target's actions,

    DM          mean of v                                          biased as far as the model is
    IPS         mean of w r                                        Horvitz and Thompson, JASA 47(260), 1952
    SNIPS       sum of w r / sum of w                              Swaminathan and Joachims, NeurIPS 2015
    DR          mean of v + w (r - q)                              Dudik, Langford and Li, ICML 2011
    switch-DR   mean of v + w (r - q) [w <= tau]                   Wang, Agarwal and Dudik, ICML 2017
    shrinkage   mean of v + lambda w / (w^2 + lambda) (r - q)      Su, Dimakopoulou, Krishnamurthy and Dudik, ICML 2020

The last two and the first are biased on purpose: their spread says nothing of how far they are off, so none has an
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from models.ope.slates import Floats
from models.ope.terms import Terms, mean_of, ratio_of

__all__ = [
    "direct_method",
    "doubly_robust",
    "ips",
    "least_error",
    "self_normalised_ips",
    "shrunk_doubly_robust",
    "switch_doubly_robust",
]


def direct_method(expected: Floats) -> Terms:
    """What the model alone says: the mean of v [N]."""
    return mean_of(expected)


def ips(rewards: Floats, weights: Floats) -> Terms:
    """Inverse propensity scores: rewards [N] under weights [N]."""
    return mean_of(weights * rewards)


def self_normalised_ips(rewards: Floats, weights: Floats) -> Terms:
    """The mean reward [N] under weights [N]; it does not change by more than c if c is added to every reward."""
    return ratio_of(weights, rewards)


def doubly_robust(rewards: Floats, weights: Floats, taken: Floats, expected: Floats) -> Terms:
    """Right on average if the propensities are, and little off where the model is good.

    Args:
        rewards: float64 [N].
        weights: float64 [N].
        taken: float64 [N], q of the logged action.
        expected: float64 [N], v.
    """
    return mean_of(expected + weights * (rewards - taken))


def switch_doubly_robust(rewards: Floats, weights: Floats, taken: Floats, expected: Floats, tau: float) -> Terms:
    """As `doubly_robust`, and the model alone where a weight is above tau."""
    return doubly_robust(rewards, np.where(weights <= tau, weights, 0.0), taken, expected)


def shrunk_doubly_robust(rewards: Floats, weights: Floats, taken: Floats, expected: Floats, shrinkage: float) -> Terms:
    """As `doubly_robust`, with large weights shrunk; shrinkage (lambda) inf is it, 0 is the model alone."""
    shrunk = weights if np.isinf(shrinkage) else shrinkage * weights / np.maximum(weights**2 + shrinkage, 1e-300)
    return doubly_robust(rewards, shrunk, taken, expected)


def least_error(estimate: Callable[[float], Terms], unbiased: Terms, choices: Iterable[float]) -> float:
    """The tau or lambda whose estimated squared error is least.

    It is the variance of the estimate, plus the square of what it differs from the unbiased one (Su et al. 2020,
    section 4, with the direct estimate of the bias).

    Args:
        estimate: Terms under a choice.
        unbiased: Terms without one.
        choices: to choose from; the first of equal ones.
    """

    def error(choice: float) -> float:
        terms = estimate(choice)
        return float(terms.pulls.var() / len(terms.pulls) + (terms.value - unbiased.value) ** 2)

    return min(choices, key=error)
