"""The benchmark of what rules do to slates: its measures on slates whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.slate_quality.judged import Judged
from benchmarks.slate_quality.measure import tables_of
from ensemble.export.strength import cosine_of_pairs, same_of_pairs
from models.metrics.bootstrap import Resamples
from runtime.calibration import divergence


def test_a_divergence_is_the_sum_over_the_values_of_the_history():
    had, shown = np.array([0, 0, 1, -1]), np.array([0, 2, 2, -1])
    thirds = 2 / 3 * math.log(2 / 3 / (0.99 / 4 + 0.02 / 3)) + 1 / 3 * math.log(1 / 3 / (0.01 / 3))
    assert divergence(had, shown) == pytest.approx(thirds)
    assert divergence(np.array([3, 4]), np.array([4, 3])) == pytest.approx(0.0)
    assert math.isnan(divergence(np.array([-1]), shown))


def test_likeness_counts_pairs_and_no_padding():
    slates = np.array([[0, 1, 2], [0, 3, -1], [2, -1, -1]])
    vectors = np.array([[1, 0], [2, 0], [0, 3], [1, 1]], np.float32)
    assert cosine_of_pairs(vectors, slates) == pytest.approx((1 / 3 + math.sqrt(0.5)) / 2)
    assert same_of_pairs(np.array([5, 5, 5, -1], np.int32), slates) == pytest.approx((1 + 0) / 2)
    assert same_of_pairs(np.array([-1, -1, 5, -1], np.int32), slates) == 0


def test_slates_are_compared_with_the_first():
    worth = np.array([1.0, 2.0, 3.0])
    found = {"plain": Judged(worth, 0.5, 0.8, 0.4, 0.2, 2.0), "other": Judged(0.98 * worth, 0.4, 0.8, 0.3, 0.1, 1.0)}
    earned, alike = tables_of(found, Resamples(50, 1))
    assert earned.rows[1][:2] == ["other", pytest.approx(1.96)]
    assert earned.rows[1][2:] == pytest.approx([0.02] * 3)
    changes = [-0.2, 0.0, -0.25, -0.5, -0.5]
    assert alike.rows[1][2::2] == pytest.approx(changes) and alike.rows[0][2::2] == [0.0] * 5
    assert all(len(row) == len(alike.columns) for row in alike.rows)
