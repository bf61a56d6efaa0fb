"""Distances: closed forms, nothing without a change, and no more than chance where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.profile.bins import Histogram, NumberBins
from operations.signals.distance import js, psi

BINS = NumberBins(np.array([1.0, 2.0, 3.0]))


def counted(*counts: float, num: float | None = None) -> Histogram:
    # Two more bins: null and infinite, which no distance compares.
    return Histogram(BINS, np.array([*counts, 0.0, 0.0]), sum(counts) if num is None else num)


def test_psi_and_js_of_large_samples_are_their_formulas() -> None:
    reference, window = counted(4e8, 3e8, 2e8, 1e8), counted(1e8, 2e8, 3e8, 4e8)
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
    assert psi(reference, window).value == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-6)
    middle = (p + q) / 2
    expected = 0.5 * (p * np.log2(p / middle) + q * np.log2(q / middle)).sum()
    assert js(reference, window).value == pytest.approx(expected, rel=1e-6)
    assert js(counted(1e9, 0, 0, 0), counted(0, 1e9, 0, 0)).value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("distance", [psi, js])
def test_without_a_change_its_mean_is_nothing_and_its_spread_is_the_stated_one(distance) -> None:
    random, shares = np.random.default_rng(0), np.array([0.4, 0.3, 0.2, 0.1])
    found = [
        distance(counted(*random.multinomial(4000, shares)), counted(*random.multinomial(900, shares)))
        for _ in range(400)
    ]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 4 * found[0].spread / np.sqrt(len(found))
    assert values.std() == pytest.approx(found[0].spread, rel=0.25)


def test_rows_of_few_users_are_worth_less() -> None:
    alone, together = counted(60, 30, 10, 0), counted(60, 30, 10, 0, num=25)
    reference = counted(4000, 3000, 2000, 1000)
    assert psi(reference, together).noise == pytest.approx(psi(reference, alone).noise * 4, rel=0.05)
    assert psi(reference, together).value < psi(reference, alone).value


def test_few_values_say_nothing() -> None:
    reference = counted(400, 300, 200, 100)
    assert not psi(reference, counted(3, 2, 2, 1)).is_enough
    assert psi(reference, counted(40, 30, 20, 10)).is_enough
    nothing = psi(reference, counted(0, 0, 0, 0))
    assert not nothing.is_enough
    assert np.isnan(nothing.value)


def test_nulls_are_no_part_of_a_distance() -> None:
    window = Histogram(BINS, np.array([400.0, 300, 200, 100, 9_000, 50]), 10_050)
    assert abs(psi(counted(4e6, 3e6, 2e6, 1e6), window).value) < 0.004
