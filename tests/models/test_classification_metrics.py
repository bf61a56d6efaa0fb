import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics.classification import auc, classification_metrics, expected_calibration_error, log_loss


def test_auc_of_a_hand_worked_example():
    # Pairs (positive, negative): .8>.6, .8>.2, .4<.6, .4>.2: three of four.
    assert auc(np.array([1, 0, 1, 0]), np.array([0.8, 0.6, 0.4, 0.2])) == 0.75


def test_ties_count_one_half():
    assert auc(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])) == 0.75


def test_auc_of_one_value_is_not_a_number():
    assert math.isnan(auc(np.ones(3), np.arange(3)))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_equals_the_share_of_ordered_pairs(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    positives, negatives = scores[labels], scores[~labels]
    if not len(positives) or not len(negatives):
        assert math.isnan(auc(labels, scores))
        return
    greater = (positives[:, None] > negatives[None]).sum()
    equal = (positives[:, None] == negatives[None]).sum()
    assert auc(labels, scores) == pytest.approx((greater + 0.5 * equal) / (len(positives) * len(negatives)))


def test_log_loss_of_a_hand_worked_example():
    expected = -(math.log(0.9) + math.log(1 - 0.2)) / 2
    assert log_loss(np.array([1, 0]), np.array([0.9, 0.2])) == pytest.approx(expected)


def test_log_loss_of_a_certain_error_is_finite():
    assert log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_calibration_error_of_a_hand_worked_example():
    # Two bins of width one half: |1/2 - .3| over two rows, |1 - .9| over one.
    labels, probabilities = np.array([1, 0, 1]), np.array([0.2, 0.4, 0.9])
    assert expected_calibration_error(labels, probabilities, num_bins=2) == pytest.approx((0.2 * 2 + 0.1) / 3)


def test_a_probability_of_one_falls_into_the_last_bin():
    assert expected_calibration_error(np.ones(4), np.ones(4)) == 0.0


def test_true_probabilities_are_calibrated():
    random = np.random.default_rng(0)
    probabilities = random.random(200_000)
    found = classification_metrics(random.random(200_000) < probabilities, probabilities)
    assert found["ece"] < 0.006
    # The AUC of labels drawn from uniform probabilities is 5/6.
    assert found["auc"] == pytest.approx(5 / 6, abs=0.005)
    assert found["positive_share"] == pytest.approx(found["mean_probability"], abs=0.005)
