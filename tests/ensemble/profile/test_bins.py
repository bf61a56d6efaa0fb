"""Bins: every value has one, whatever it is, and the same one each time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ensemble.profile.bins import MOST_VALUES, Histogram, NumberBins, ValueBins, number_bins, value_bins

INF, NAN = np.inf, np.nan


def test_numbers_fall_between_edges_and_what_is_none_has_bins_of_its_own() -> None:
    bins = NumberBins(np.array([1.0, 2.0]))
    assert bins.codes(np.array([0.5, 1.0, 1.9, 2.0, NAN, INF, -INF])).tolist() == [0, 1, 1, 2, 3, 4, 4]
    assert bins.codes(pa.array([3, None, 0])).tolist() == [2, 3, 0]
    assert bins.names == ["below 1", "1 to 2", "2 and more", "null", "infinite"]
    assert (bins.size, bins.compared) == (5, slice(0, 3))


def test_values_have_bins_and_others_share_one() -> None:
    bins = ValueBins(np.array(["a", "b"]))
    assert bins.codes(pa.array(["b", "a", "c", None, ""])).tolist() == [1, 0, 2, 3, 2]
    assert bins.codes(pa.array(["b", None, "b"]).dictionary_encode()).tolist() == [1, 3, 1]
    assert bins.codes(pa.array([b"a", b"\xff"])).tolist() == [0, 2]
    assert ValueBins(np.array([5, 7], np.int64)).codes(pa.array([7, None, 6], pa.int32())).tolist() == [1, 3, 2]


def test_bins_of_numbers_hold_as_many_each_and_repeated_values_share_one() -> None:
    values = np.arange(1000.0)
    assert Histogram.of(number_bins(values), values).counts[:10].tolist() == [100.0] * 10
    assert len(number_bins(np.zeros(50)).edges) == 1
    assert number_bins(np.array([NAN, INF])).names == ["any number", "null", "infinite"]


def test_the_most_frequent_values_are_kept_and_ties_go_to_the_lower() -> None:
    assert value_bins(pa.array(["c", "b", "b", "a", None]), most=2).values.tolist() == ["b", "a"]
    assert value_bins(pa.array([None, None], pa.int64())).values.tolist() == []


def test_of_many_distinct_texts_few_have_a_bin() -> None:
    texts = pa.array([f"t{n}" for n in range(500_000)])
    counted = Histogram.of(bins := value_bins(texts), texts)
    assert bins.size == MOST_VALUES + 2
    assert counted.counts[MOST_VALUES] == 500_000 - MOST_VALUES


@pytest.mark.parametrize("weights", [None, np.array([2.0, 1.0, 1.0])])
def test_counts_are_sums_of_weights(weights: np.ndarray | None) -> None:
    counted = Histogram.of(ValueBins(np.array(["a"])), pa.array(["a", "b", "a"]), weights=weights)
    assert counted.counts.tolist() == ([2, 1, 0] if weights is None else [3, 1, 0])
    assert counted.num == (3 if weights is None else 16 / 6)
