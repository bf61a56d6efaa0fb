import numpy as np
import pytest

from models.ranking.calibrate import fit_platt
from runtime.ranker.pairs import pair_features, popularity_values


def test_pair_features_stand_in_the_order_of_their_names_and_are_zero_without_a_candidate():
    candidates = np.array([[2, 0, -1]])
    scores = np.array([[0.9, 0.5, 7.0]], np.float32)
    popularity = np.array([1.0, 2.0, 3.0], np.float32)
    pairs = pair_features(["popularity", "tower_score"], candidates, {"tower_score": scores}, popularity)
    np.testing.assert_array_equal(pairs, np.array([[[3, 0.9], [1, 0.5], [0, 0]]], np.float32))


def test_an_unknown_pair_feature_is_refused_by_name():
    with pytest.raises(ValueError, match="'weather'"):
        pair_features(["weather"], np.zeros((1, 1), int), {})


def test_popularity_does_not_depend_on_the_length_of_the_log():
    counts = np.array([1.0, 3.0, 0.0])
    np.testing.assert_allclose(popularity_values(counts), popularity_values(7 * counts))
    np.testing.assert_allclose(popularity_values(counts), np.log1p(3 * counts / 4), rtol=1e-6)


def test_platt_scaling_recovers_the_scale_and_offset_of_the_labels():
    random = np.random.default_rng(0)
    logits = random.normal(3.0, 2.0, 200_000)
    labels = random.random(200_000) < 1 / (1 + np.exp(-(0.5 * logits - 2.0)))
    assert fit_platt(labels, logits) == pytest.approx((0.5, -2.0), abs=0.03)


def test_platt_scaling_never_turns_the_order_around():
    factor, _ = fit_platt(np.array([1, 1, 0, 0]), np.array([0.0, 0.1, 2.0, 2.1]))
    assert factor > 0
