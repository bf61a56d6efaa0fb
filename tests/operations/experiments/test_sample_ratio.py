"""The sample ratio: alarms where users are lost, and none where they are not, looked at daily."""

from __future__ import annotations

import numpy as np
import pytest

from operations.experiments.sample_ratio import daily_p, sample_ratio
from workflows.core.errors import CascadeError


def test_reported_counts() -> None:
    found = sample_ratio([9_463, 7_681], [0.5, 0.5])
    assert found.p_value == pytest.approx(3.5e-42, rel=0.01) and found.alarm and found.daily_p < 1e-20
    found = sample_ratio([5_000, 5_080], [0.5, 0.5], is_last=True)
    assert found.p_value == pytest.approx(0.4256, abs=1e-4) and not found.alarm


def test_a_loss_of_two_percent_is_found() -> None:
    assert sample_ratio([100_000, 98_000], [1, 1]).alarm
    # At half of that, the test of the last look finds it, and a daily look cannot.
    assert not sample_ratio([70_000, 68_600], [1, 1]).alarm
    assert sample_ratio([70_000, 68_600], [1, 1], is_last=True).alarm


def test_shares_need_not_be_equal() -> None:
    assert not sample_ratio([9_010, 990], [0.9, 0.1]).alarm
    assert sample_ratio([9_010, 990], [0.5, 0.5]).alarm
    assert not sample_ratio([100, 0, 102], [1, 0, 1]).alarm


def test_daily_looks_raise_no_false_alarm() -> None:
    rng = np.random.default_rng(0)
    steps = rng.binomial(500, 0.5, (1_000, 196)).cumsum(axis=1)
    users = 500 * np.arange(1, 197)
    counts = np.stack([steps, users - steps], axis=-1).astype(float)
    assert (daily_p(counts, np.array([0.5, 0.5])) < 0.001).any(axis=1).sum() <= 1


@pytest.mark.parametrize(
    ("counts", "shares", "why"),
    [([5, 5], [1, 0], "two variants with a share"), ([5, 5, 1], [1, 1, 0], "users of a variant that has none")],
)
def test_what_cannot_be_compared_is_refused(counts: list, shares: list, why: str) -> None:
    with pytest.raises(CascadeError, match=why):
        sample_ratio(counts, shares)


def test_nobody_yet_is_no_alarm() -> None:
    assert not sample_ratio([0, 0], [1, 1], is_last=True).alarm


def test_a_large_loss_is_found_among_few_users() -> None:
    assert sample_ratio([500, 300], [1, 1]).alarm and sample_ratio([120, 50], [1, 1]).alarm
    assert not sample_ratio([110, 90], [1, 1]).alarm
