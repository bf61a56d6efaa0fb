"""How much lies elsewhere: closed forms, bins of each side's own, and nothing where nothing has moved."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ensemble.profile.bins import Histogram, ValueBins, number_bins, value_bins
from operations.gate.elsewhere import elsewhere, nulls_more, of_shares


def texts(**counts: int) -> Histogram:
    column = pa.array([None if name == "null" else name for name, count in counts.items() for _ in range(count)])
    return Histogram.of(value_bins(column.cast(pa.string())), column)


def numbers(values: np.ndarray) -> Histogram:
    return Histogram.of(number_bins(values), values)


def test_of_values_it_is_half_the_sum_of_the_differences() -> None:
    served, candidate = texts(a=500_000, b=300_000, c=200_000), texts(a=200_000, b=300_000, c=500_000)
    assert elsewhere(served, candidate) == pytest.approx(0.3, abs=0.005)
    assert elsewhere(served, texts(a=500_000, b=300_000, d=200_000)) == pytest.approx(0.2, abs=0.005)
    assert elsewhere(served, texts(a=500_000, null=500_000)) == pytest.approx(0.5, abs=0.005)
    assert nulls_more(served, texts(a=500_000, null=500_000)) == pytest.approx(0.5)


def test_codes_that_lost_their_bins_are_not_among_the_others() -> None:
    """Every request has a code that no training had: it is in the bin of others, where those of before never were."""
    bins = ValueBins(np.array([1, 2, 3, 4, 5], np.int64))
    served = Histogram.of(bins, np.repeat([3, 4, 5], 400))
    lost = Histogram.of(ValueBins(np.array([1, 2], np.int64)), np.zeros(1_200, np.int64))
    assert elsewhere(served, lost) > 0.9


def test_rare_values_may_be_among_the_others() -> None:
    random = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        values = pa.array(random.zipf(1.3, 3_000) % 5_000)
        sides.append(Histogram.of(value_bins(values), values))
    assert elsewhere(*sides) < 0.03


def test_of_numbers_with_other_edges_only_what_the_edges_prove_counts() -> None:
    random = np.random.default_rng(0)
    served = numbers(random.normal(size=4_000))
    for seed in range(20):
        assert elsewhere(served, numbers(np.random.default_rng(seed).normal(size=1_000))) == 0.0
    assert 0.5 < elsewhere(served, numbers(random.normal(3, 1, size=4_000))) <= 1.0
    # Most have lost their history: its length is 0.
    lengths = random.poisson(6, 4_000).astype(float)
    assert elsewhere(numbers(lengths), numbers(np.zeros(1_000))) > 0.75
    assert elsewhere(numbers(np.zeros(1_000)), numbers(lengths)) > 0.75
    half = np.where(np.arange(4_000) % 2, np.nan, lengths)
    assert elsewhere(numbers(lengths), numbers(half)) == pytest.approx(0.5)


def test_numbers_and_codes_have_nothing_in_common() -> None:
    assert elsewhere(texts(a=10), numbers(np.arange(50.0))) == 1.0


def test_chance_is_taken_off() -> None:
    random, shares = np.random.default_rng(0), np.full(20, 0.05)
    found = [of_shares(*(random.multinomial(500, shares) / 500 for _ in range(2)), (500.0, 500.0)) for _ in range(200)]
    assert np.mean(found) < 0.02 and max(found) < 0.07
