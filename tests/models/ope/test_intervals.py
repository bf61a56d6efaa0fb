"""Intervals cover as they promise, are as wide as the estimate spreads, and count users and not slates."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.bootstrap import Resamples
from models.ope.bandit import ips, self_normalised_ips
from models.ope.intervals import bootstrap_t, empirical_bernstein, linearised, standard_error
from models.ope.terms import mean_of


def draws(seed, num=1_000):
    """Rewards around 5 of logged actions, and the weights of the uniform policy: as in a published report."""
    rng = np.random.default_rng(seed)
    logged = np.array([0.5, 0.25, 0.15, 0.1])
    actions = rng.choice(4, num, p=logged)
    return 5 + rng.normal(0, 1, num), 0.25 / logged[actions]


def test_snips_intervals_cover_and_are_as_wide_as_its_values_spread():
    found = [(self_normalised_ips(*draws(seed)), np.arange(1_000)) for seed in range(600)]
    intervals = [linearised(*pair) for pair in found]
    assert 0.93 <= np.mean([got.low <= 5 <= got.high for got in intervals]) <= 0.98
    spread = np.std([got.value for got in intervals])
    width = np.mean([got.high - got.low for got in intervals])
    assert width == pytest.approx(3.92 * spread, rel=0.15)


def test_slates_of_a_user_count_once():
    rewards, weights = draws(0)
    once = standard_error(self_normalised_ips(rewards, weights), np.arange(1_000))
    repeated = self_normalised_ips(np.tile(rewards, 4), np.tile(weights, 4))
    assert standard_error(repeated, np.tile(np.arange(1_000), 4)) == pytest.approx(once)
    assert standard_error(repeated, np.arange(4_000)) == pytest.approx(once / 2, rel=1e-2)


def test_the_standard_error_is_the_double_loop():
    rewards, weights = draws(1, 60)
    users = np.arange(60) % 13
    terms = ips(rewards, weights)
    sums = [sum(terms.pulls[i] - terms.value for i in range(60) if users[i] == user) for user in range(13)]
    assert standard_error(terms, users) == pytest.approx(np.sqrt(13 / 12 * sum(x * x for x in sums)) / 60)


def test_bootstrap_t_agrees_with_the_normal_one_and_leans_with_the_skew():
    rewards, weights = draws(2)
    terms, users = self_normalised_ips(rewards, weights), np.arange(1_000)
    normal, drawn = linearised(terms, users), bootstrap_t(terms, users, Resamples(2_000, 0))
    assert [drawn.low, drawn.high] == pytest.approx([normal.low, normal.high], abs=0.02)
    skewed = mean_of(np.random.default_rng(0).lognormal(0, 1.5, 300))
    leaning = bootstrap_t(skewed, np.arange(300), Resamples(2_000, 0))
    assert leaning.high - skewed.value > 1.2 * (skewed.value - leaning.low)


def test_bootstrap_t_is_the_double_loop():
    values, users = np.random.default_rng(3).normal(size=40), np.arange(40) % 11
    terms, plan = mean_of(values), Resamples(200, 5)
    error, drawn = standard_error(terms, users), []
    for weights in np.concatenate([*plan.weights(11)]):
        rows = np.concatenate([np.tile(np.flatnonzero(users == user), int(weights[user])) for user in range(11)])
        owner = np.concatenate(
            [np.repeat(100 * user + np.arange(int(weights[user])), (users == user).sum()) for user in range(11)]
        )
        again = mean_of(values[rows])
        drawn.append((again.value - terms.value) / standard_error(again, owner))
    low, high = np.percentile(drawn, [97.5, 2.5])
    found = bootstrap_t(terms, users, plan)
    assert [found.low, found.high] == pytest.approx([terms.value - low * error, terms.value - high * error])


def test_empirical_bernstein_holds_for_few_and_is_wider():
    def interval(seed):
        rng = np.random.default_rng(seed)
        return empirical_bernstein(mean_of(rng.binomial(1, 0.1, 50) * 10.0), np.arange(50), (0.0, 10.0))

    found = [interval(seed) for seed in range(300)]
    assert np.mean([got.low <= 1.0 <= got.high for got in found]) >= 0.95
    rewards, weights = draws(4)
    terms, users = ips(rewards, weights), np.arange(1_000)
    wide, normal = empirical_bernstein(terms, users, (0.0, 25.0)), linearised(terms, users)
    assert wide.high - wide.low > normal.high - normal.low


def test_one_user_has_no_interval():
    terms, users = mean_of(np.array([1.0, 2.0])), np.zeros(2, int)
    for found in (
        linearised(terms, users),
        bootstrap_t(terms, users, Resamples(10, 0)),
        empirical_bernstein(terms, users, (0.0, 2.0)),
    ):
        assert found.value == 1.5 and found.low is None


def test_what_never_differs_has_an_interval_of_one_point():
    terms = mean_of(np.ones(5))
    found = bootstrap_t(terms, np.arange(5), Resamples(10, 0))
    assert (found.low, found.high) == (1.0, 1.0)
