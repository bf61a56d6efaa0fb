"""Bootstrap intervals: users are resampled, the same draws for every metric and source, so differences are paired.

Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "Resamples", "estimates", "interval"]

CHUNK_CELLS = 4_000_000  # 32 MB of resampling weights at a time
LOW_PERCENT, HIGH_PERCENT = 2.5, 97.5

Floats = npt.NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """A mean over users with its 95% interval.

    Attributes:
        value: the mean.
        low, high: ends of the interval; None where resampling users does not estimate one.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Resamples(msgspec.Struct, frozen=True):
    """The plan of a bootstrap: how many resamples, and from which seed."""

    num_resamples: int
    seed: int

    def means(self, values: Floats) -> Floats:
        """Means over users under every resample.

        Args:
            values: [U, M], a row a user, a column a metric; NaN leaves the user out of that metric.

        Returns:
            float64 [num_resamples, M]. Two calls with the same U see the same resamples; memory does not grow with
            num_resamples times U.
        """
        known, filled = np.isfinite(values).astype(np.float64), np.nan_to_num(values)
        means = []
        for weights in self.weights(len(values)):
            with np.errstate(
                invalid="ignore"
            ):  # a resample without any user that knows the metric: NaN, left out below
                means.append((weights @ filled) / (weights @ known))
        return np.concatenate(means)

    def weights(self, num_users: int) -> Iterator[Floats]:
        """How often each user is drawn in each resample, some resamples at a time: float64 [some, U]."""
        rng = np.random.default_rng(self.seed)
        step = max(1, CHUNK_CELLS // max(num_users, 1))
        for start in range(0, self.num_resamples, step):
            yield _weights(rng, min(step, self.num_resamples - start), num_users)


def interval(value: float, resampled: Floats) -> Estimate:
    """A statistic with the percentile interval of its resampled values [num_resamples], NaN among them left out."""
    low, high = np.nanpercentile(resampled, [LOW_PERCENT, HIGH_PERCENT])
    return Estimate(float(value), float(low), float(high))


def estimates(columns: Mapping[str, Floats], resamples: Resamples) -> dict[str, Estimate]:
    """Mean over users and percentile interval of every column.

    Args:
        columns: metric name -> float64 [U], NaN where the user has no value.
        resamples: the plan.

    Returns:
        One Estimate a column, in the order given; a column of NaN alone is left out.
    """
    known = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    if not known:
        return {}
    stacked = np.stack(list(known.values()), axis=1)
    low, high = np.nanpercentile(resamples.means(stacked), [LOW_PERCENT, HIGH_PERCENT], axis=0)
    value = np.nanmean(stacked, axis=0)
    return {name: Estimate(float(value[j]), float(low[j]), float(high[j])) for j, name in enumerate(known)}


def _weights(rng: np.random.Generator, num_resamples: int, num_users: int) -> Floats:
    """How often each user is drawn in each resample; float64 [num_resamples, U]."""
    draws = rng.integers(0, num_users, size=(num_resamples, num_users))
    draws += np.arange(num_resamples)[:, None] * num_users
    return (
        np.bincount(draws.ravel(), minlength=num_resamples * num_users)
        .reshape(num_resamples, num_users)
        .astype(np.float64)
    )
