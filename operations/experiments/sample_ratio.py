"""Whether the variants have the users that they should: where not, users were lost and no difference means anything.

The usual chi-square test holds at one look. Looked at daily it cries wolf, so the alarm is of the Bayes factor of a
Dirichlet mixture over shares around the expected ones, whose inverse may be looked at daily (Lindon and Malek 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workflows.core.errors import CascadeError

__all__ = ["ALARM", "SampleRatio", "daily_p", "sample_ratio"]

ALARM = 0.001
# Of the mixture, each with its weight: shares are looked for that are off by about half a percentage point, as a loss
# of 2% makes them, and for those that are off by 5, which few users show.
CONCENTRATIONS = {10_000.0: 0.8, 100.0: 0.2}


class SampleRatio(NamedTuple):
    """What was found.

    Attributes:
        p_value: of the chi-square test, for this look alone.
        daily_p: of all looks together.
        alarm: whether either says that users were lost: `daily_p`, or `p_value` at the last look.
    """

    p_value: float
    daily_p: float
    alarm: bool


def sample_ratio(counts: Sequence[int], shares: Sequence[float], *, is_last: bool = False) -> SampleRatio:
    """Compare users of variants with the shares that they were drawn with.

    Args:
        counts: distinct users, one count a variant.
        shares: what each variant has of the users; any scale.
        is_last: whether the experiment has ended, and this is the one look that the chi-square test is for.

    Raises:
        CascadeError: fewer than two variants have a share, or a variant without one has users.

    Example:
        >>> sample_ratio([9463, 7681], [1, 1]).alarm, sample_ratio([5000, 5080], [1, 1]).alarm
        (True, False)
    """
    from scipy.special import gammaincc

    observed, weights = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    if (weights > 0).sum() < 2:
        raise CascadeError(f"the sample ratio needs two variants with a share, got {list(shares)}")
    if (observed[weights <= 0] > 0).any():
        raise CascadeError(f"users of a variant that has none: {list(counts)} users at shares of {list(shares)}")
    observed, weights = observed[weights > 0], weights[weights > 0] / weights.sum()
    expected = observed.sum() * weights
    chi2 = float(((observed - expected) ** 2 / np.maximum(expected, 1e-12)).sum())
    p_value = float(gammaincc((len(weights) - 1) / 2, chi2 / 2))
    daily = float(daily_p(observed, weights))
    return SampleRatio(p_value, daily, daily < ALARM or (is_last and p_value < ALARM))


def daily_p(counts: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse Bayes factor, at most 1: counts [..., V] and shares [V] that sum to 1 -> [...]."""
    from scipy.special import gammaln, logsumexp, xlogy

    log_factors = []
    for concentration in CONCENTRATIONS:
        prior = concentration * shares
        after = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum(axis=-1))
        log_factors.append(after + (gammaln(prior + counts) - gammaln(prior) - xlogy(counts, shares)).sum(axis=-1))
    weights = np.array([*CONCENTRATIONS.values()])
    mixed = logsumexp(np.stack(log_factors, axis=-1), axis=-1, b=weights)
    return np.asarray(np.exp(-np.maximum(mixed, 0.0)))
