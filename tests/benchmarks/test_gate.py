"""The simulated candidates of `python -m benchmarks gate`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gate.simulate import NOISE, evidence
from operations.gate.rows import Quality


def quality(ndcg, gain, seed=1):
    found = evidence(ndcg, 200_000, gain, seed).quality
    assert isinstance(found, Quality)
    return found


@pytest.fixture(scope="module")
def ndcg():
    rng = np.random.default_rng(0)
    return np.where(rng.random(5_000) < 0.3, rng.random(5_000), 0.0)


@pytest.mark.parametrize("gain", [-0.03, 0.0, 0.03])
def test_the_mean_moves_by_the_gain(ndcg, gain):
    found = quality(ndcg, gain)
    spread = found.candidate.std() / np.sqrt(len(found.served)) / found.served.mean()
    assert found.candidate.mean() / found.served.mean() - 1 == pytest.approx(gain, abs=4 * NOISE * spread + 0.002)


def test_users_differ_as_much_as_between_two_trainings(ndcg):
    found = quality(ndcg, 0.0)
    assert (found.candidate - found.served).std() / found.served.std() == pytest.approx(NOISE, rel=0.05)


def test_slices_part_the_users(ndcg):
    found = quality(ndcg, 0.0)
    assert sum(members.astype(int) for members in found.slices.values()).tolist() == [1] * len(found.served)
