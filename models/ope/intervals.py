"""Intervals of 95%. Users are drawn, not slates: those of one user are not independent.

- `linearised`: normal, from the variance of the pulls summed by user (Liang and Zeger, Biometrika 73(1), 1986, for the
  clusters). It covers as promised from an effective sample of about 150 slates on.
- `bootstrap_t`: resamples users and studentises each resample (Efron and Tibshirani, "An Introduction to the
  Bootstrap", 1993, chapter 12); for skewed rewards, at the price of `num_resamples` passes.
- `empirical_bernstein`: holds at every size, for known bounds of what one user may add (Maurer and Pontil, COLT 2009,
  theorem 4); wide.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Estimate, Resamples
from models.ope.slates import Floats
from models.ope.terms import Terms

__all__ = ["INTERVALS", "Interval", "bootstrap_t", "empirical_bernstein", "linearised", "standard_error"]

Interval = Literal["linearised", "bootstrap-t"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
NORMAL_95 = 1.959963984540054
ALPHA = 0.05


def standard_error(terms: Terms, users: NDArray[np.int64]) -> float:
    """Of an estimate, from the spread of its users.

    Args:
        terms: of N slates.
        users: int64 [N], whose slate it is.

    Returns:
        NaN where there are fewer than two users.
    """
    gaps = _by_user(terms.pulls - terms.value, users)
    if len(gaps) < 2:
        return float("nan")
    return float(np.sqrt(len(gaps) / (len(gaps) - 1) * (gaps @ gaps)) / len(users))


def linearised(terms: Terms, users: NDArray[np.int64]) -> Estimate:
    """The estimate and 1.96 standard errors to each side; without an interval where there are fewer than two users."""
    half = NORMAL_95 * standard_error(terms, users)
    return Estimate(terms.value) if np.isnan(half) else Estimate(terms.value, terms.value - half, terms.value + half)


def bootstrap_t(terms: Terms, users: NDArray[np.int64], resamples: Resamples) -> Estimate:
    """The estimate between studentised quantiles over resampled users.

    Args:
        terms: of N slates.
        users: int64 [N].
        resamples: the plan.
    """
    error = standard_error(terms, users)
    if not error > 0:
        return Estimate(terms.value) if np.isnan(error) else Estimate(terms.value, terms.value, terms.value)
    gaps = _by_user(terms.pulls - terms.value, users)
    counts = _by_user(np.ones(len(users)), users)
    drawn = np.concatenate([_studentised(weights, gaps, counts) for weights in resamples.weights(len(gaps))])
    low, high = np.nanpercentile(drawn, [100 * (1 - ALPHA / 2), 100 * ALPHA / 2])
    return Estimate(terms.value, float(terms.value - low * error), float(terms.value - high * error))


def empirical_bernstein(terms: Terms, users: NDArray[np.int64], bounds: tuple[float, float]) -> Estimate:
    """The estimate with a bound that needs no normal law.

    Args:
        terms: of N slates.
        users: int64 [N].
        bounds: lowest and highest pull that one slate can have, of all that might be drawn (for IPS with rewards in
            [0, 1]: 0 and the largest possible weight), known without the log.
    """
    counts = _by_user(np.ones(len(users)), users)
    num = len(counts)
    if num < 2:
        return Estimate(terms.value)
    totals = _by_user(terms.pulls, users) * num / len(users)
    most = counts.max() * num / len(users)
    width = max(bounds[1], 0.0) * most - min(bounds[0], 0.0) * most
    log_term = np.log(4 / ALPHA)  # both sides
    half = np.sqrt(2 * totals.var(ddof=1) * log_term / num) + 7 * width * log_term / (3 * (num - 1))
    return Estimate(terms.value, float(terms.value - half), float(terms.value + half))


def _by_user(values: Floats, users: NDArray[np.int64]) -> Floats:
    """Sums of values [N] over each user's slates, float64 [U]."""
    owner = np.unique(users, return_inverse=True)[1]
    return np.bincount(owner, values).astype(np.float64)


def _studentised(weights: Floats, gaps: Floats, counts: Floats) -> Floats:
    """(V* - V) / its own standard error, of each resample of users, float64 [some]."""
    sizes = weights @ counts
    means = weights @ gaps / sizes
    num = len(gaps)
    spread = weights @ gaps**2 - 2 * means * (weights @ (gaps * counts)) + means**2 * (weights @ counts**2)
    errors = np.sqrt(num / (num - 1) * np.maximum(spread, 0.0)) / sizes
    return np.divide(means, errors, out=np.full(len(means), np.nan), where=errors > 0)
