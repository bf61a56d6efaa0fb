"""Confidence sequences: the boundary by its formula, and never wrong more often than said, at any look."""

from __future__ import annotations

import math

import numpy as np
import pytest

from operations.experiments.sequence import Sequence, tuned


def test_the_boundary_is_that_of_the_normal_mixture() -> None:
    sequence = Sequence(0.05, 40.0)
    for t in (1.0, 40.0, 1e4):
        # The mixture over N(0, 1 / r) of the likelihood ratio is 1 / alpha there, by quadrature.
        s = t * float(sequence.half_width(1 / t))
        means = np.linspace(-12, 12, 200_001) / math.sqrt(40.0)
        density = np.exp(-(means**2) * 40.0 / 2) * math.sqrt(40.0 / (2 * math.pi))
        mixed = (np.exp(means * s - means**2 * t / 2) * density).sum() * (means[1] - means[0])
        assert mixed == pytest.approx(20, rel=1e-6)


def test_one_side_alone_is_nearer_and_holds() -> None:
    sequence = tuned(0.05, 1e-3)
    variances = np.geomspace(1e-2, 1e-5, 50)
    assert (sequence.one_sided(variances) < sequence.half_width(variances)).all()
    # The mixture over the positive half is at least 1 / alpha at the boundary.
    for variance in (1e-2, 1e-3, 1e-5):
        t, r = 1 / variance, sequence.information
        s = t * float(sequence.one_sided(variance))
        means = np.linspace(0, 12, 200_001) / math.sqrt(r)
        density = 2 * np.exp(-(means**2) * r / 2) * math.sqrt(r / (2 * math.pi))
        values = np.exp(means * s - means**2 * t / 2) * density
        assert (values.sum() - values[0] / 2) * (means[1] - means[0]) >= 20 * (1 - 1e-6)


def test_false_alarms_at_any_of_196_looks_are_as_few_as_said() -> None:
    rng = np.random.default_rng(3)
    steps = rng.standard_normal((4_000, 196)) * 10
    t = 100.0 * np.arange(1, 197)
    values, sequence = steps.cumsum(axis=1) / t, tuned(0.05, 1 / t[-1])
    assert 0.001 < (np.abs(values) > sequence.half_width(1 / t)).any(axis=1).mean() <= 0.05
    assert 0.001 < (values > sequence.one_sided(1 / t)).any(axis=1).mean() <= 0.05
    assert (np.abs(values) > 1.96 / np.sqrt(t)).any(axis=1).mean() > 0.3


def test_the_p_value_says_what_the_interval_says() -> None:
    sequence = tuned(0.05, 1e-3)
    values = np.linspace(-0.5, 0.5, 101)
    for variance in (1e-2, 1e-3, 1e-4):
        low, high = sequence.interval(values, variance)
        assert ((sequence.p_value(values, variance) < 0.05) == ((low > 0) | (high < 0))).all()


def test_it_is_narrowest_at_the_planned_end() -> None:
    planned = tuned(0.05, 1e-3)
    others = [Sequence(0.05, planned.information * factor) for factor in (0.1, 0.5, 2, 10)]
    assert all(planned.half_width(1e-3) <= other.half_width(1e-3) * 1.001 for other in others)


def test_what_is_not_known_says_nothing() -> None:
    assert np.isnan(tuned(0.05, 1e-3).half_width(float("nan")))
