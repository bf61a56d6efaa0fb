"""Experiments in which something differs: a variant with more clicks, and one that loses users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.experiments.looks import FIRST_USERS
from operations.experiments.arms import Arm, difference
from operations.experiments.sample_ratio import ALARM, daily_p
from operations.experiments.sequence import tuned

__all__ = ["Power", "lost_users", "power"]


class Power(NamedTuple):
    """How often a gain was found.

    Attributes:
        share: of the experiments.
        users: of a variant when it was, on average.
    """

    share: float
    users: float


def power(ratio: float, gain: float, *, users: int, looks: int, runs: int, alpha: float, seed: int) -> Power:
    """How often a relative gain of a ratio is found while users of one impression each arrive.

    Args:
        ratio: of the control, such as a click-through rate.
        gain: of the variant.
        users: of a variant at the last look.
        looks: how often the experiment is looked at.
        runs: experiments.
        alpha: of the confidence sequence.
        seed: of every draw.
    """
    rng = np.random.default_rng(seed)
    steps = np.diff(np.linspace(0, users, looks + 1).astype(int))
    counts = steps.cumsum()
    control, variant = (_arm(counts, rng.binomial(steps, p, (runs, looks))) for p in (ratio, ratio * (1 + gain)))
    found = difference(variant, control)
    value, variance = np.asarray(found.value), np.asarray(found.variance)
    first = int(np.argmax(counts >= FIRST_USERS))
    width = np.full(value.shape, np.inf)
    for run in range(runs):
        guess = variance[run, first] * counts[first] / users
        if np.isfinite(guess):
            width[run, first:] = tuned(alpha, guess).half_width(variance[run, first:])
    shown = value > width
    stops = counts[shown.argmax(axis=1)[shown.any(axis=1)]]
    return Power(float(shown.any(axis=1).mean()), float(stops.mean()) if len(stops) else float("nan"))


def _arm(counts: np.ndarray, new: np.ndarray) -> Arm:
    clicks = new.cumsum(axis=1).astype(np.float64)
    return Arm(counts, clicks, counts, clicks, clicks, counts)


def lost_users(lost: float, *, users: int, looks: int, runs: int, seed: int) -> tuple[float, float]:
    """How often the sample ratio raises an alarm: at any of the looks, and by the chi-square test at the last.

    Args:
        lost: share of the second variant's users who are not counted.
        users: of a variant.
        looks: at equal distances.
        runs: experiments.
        seed: of every draw.
    """
    from scipy.special import gammaincc

    rng = np.random.default_rng(seed)
    steps = np.diff(np.linspace(0, 2 * users, looks + 1).astype(int))
    first = rng.binomial(steps, 0.5, (runs, looks))
    second = rng.binomial(steps - first, 1 - lost)
    counts = np.stack([first.cumsum(axis=1), second.cumsum(axis=1)], axis=-1).astype(np.float64)
    daily = (daily_p(counts, np.array([0.5, 0.5])) < ALARM).any(axis=1)
    last = counts[:, -1]
    expected = last.sum(axis=1, keepdims=True) / 2
    single = gammaincc(0.5, ((last - expected) ** 2 / expected).sum(axis=1) / 2) < ALARM
    return float(daily.mean()), float(single.mean())
