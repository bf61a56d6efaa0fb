"""Exposure: coverage that does not grow with the traffic, and inequality."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from operations.signals.exposure import gini, rarefied


def test_rarefied_coverage_is_the_mean_over_all_draws() -> None:
    slates = [{0, 1}, {0, 2}, {0}, {3, 1}]
    counts = np.array([sum(item in slate for slate in slates) for item in range(6)])
    drawn = [len(set().union(*some)) / 6 for some in combinations(slates, 2)]
    assert rarefied(counts, len(slates), 2)[0] == pytest.approx(np.mean(drawn))
    assert rarefied(counts, len(slates), 4)[0] == pytest.approx(4 / 6)


def test_it_does_not_grow_with_the_traffic() -> None:
    random, chance = np.random.default_rng(0), 1 / np.arange(1, 501)
    values = [rarefied(random.binomial(num, np.minimum(chance, 1)), num, 1000)[0] for num in (1_000, 10_000, 100_000)]
    assert max(values) - min(values) < 0.03


def test_gini_of_known_cases() -> None:
    assert gini(np.array([5, 5, 5])) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    assert np.isnan(gini(np.zeros(3)))
