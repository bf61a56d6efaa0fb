"""A ratio by user and its variance: against users drawn again and again, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from operations.experiments.arms import Arm, difference


def returning(rng: np.random.Generator, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Clicks and impressions of users who differ in both."""
    impressions = 10 * (1 + rng.geometric(0.3, users))
    return rng.binomial(impressions, rng.beta(1, 9, users)), impressions


def test_the_variance_is_that_of_users_who_are_drawn_again() -> None:
    rng = np.random.default_rng(0)
    found = [difference(*(Arm.of(*returning(rng, 500)) for _ in range(2))) for _ in range(1_000)]
    values, relative = np.array([each.value for each in found]), np.array([each.relative for each in found])
    assert np.mean([each.variance for each in found]) == pytest.approx(values.var(), rel=0.12)
    assert np.mean([each.relative_variance for each in found]) == pytest.approx(relative.var(), rel=0.15)
    # Taken impression by impression, users who come often would seem to be many.
    clicks, impressions = returning(rng, 100_000)
    rate = clicks.sum() / impressions.sum()
    naive = 2 * rate * (1 - rate) / (impressions.mean() * 500)
    assert naive < 0.6 * values.var()


def test_a_mean_by_user_is_a_ratio_by_one() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.gamma(1, 2, 300), rng.gamma(1, 1, 400)
    found = difference(Arm.of(ours, np.ones(300)), Arm.of(theirs, np.ones(400)))
    assert found.value == pytest.approx(ours.mean() - theirs.mean())
    assert found.variance == pytest.approx(ours.var(ddof=1) / 300 + theirs.var(ddof=1) / 400)
    assert found.relative == pytest.approx(ours.mean() / theirs.mean() - 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (([], []), ([1.0], [1.0])),
        (([0.0], [0.0]), ([1.0, 0.0], [1.0, 1.0])),
        (([1.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, 1.0])),
        (([3.0, 6.0], [1.0, 2.0]), ([1.0, 0.0], [1.0, 1.0])),
    ],
    ids=["no users", "no impressions", "all alike", "all at one rate"],
)
def test_too_little_to_tell_is_no_number(ours: tuple, theirs: tuple) -> None:
    assert np.isnan(difference(Arm.of(*ours), Arm.of(*theirs)).variance)


def test_looks_are_measured_together_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    looks = [[Arm.of(*returning(rng, 50)) for _ in range(2)] for _ in range(3)]
    together = difference(*(Arm(*np.array([look[side] for look in looks]).T) for side in range(2)))
    for place, look in enumerate(looks):
        assert [values[place] for values in together] == pytest.approx(list(difference(*look)))
