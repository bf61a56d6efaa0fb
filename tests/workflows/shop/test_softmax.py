"""The logging policy with propensities: checked by enumeration, by a plain sum over the catalogue, and by counting."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from runtime import explore
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import Shop, draw_visits, open_shop
from workflows.shop.policy import MIX, LoggingPolicy
from workflows.shop.scored import ScoredPolicy, true_clicks
from workflows.shop.softmax import SoftmaxPolicy
from workflows.shop.visits import Visits

SMALL = ShopConfig(
    num_users=9,
    num_items=6,
    impressions_per_session=3,
    random_share=0.2,
    cold_item_fraction=0.0,
    out_of_stock_fraction=0.17,
    policy="softmax",
)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return open_shop(SMALL)


def _same_visit(shop: Shop, size: int, at_end: bool) -> Visits:
    bounds = shop.world.truth.log_from_to
    at = np.full(size, bounds[1] - 1 if at_end else bounds[0])
    zeros = np.zeros(size, dtype=np.int64)
    return Visits(np.full(size, 4), at, zeros, zeros)


def _weights(shop: Shop, visits: Visits) -> np.ndarray:
    """Weight of each item at each visit by the documented formula, 0 off sale: [B, N]."""
    truth, known = shop.world.truth, LoggingPolicy(shop.world)
    cos, sin = truth.drift(visits.at)
    taste = cos[:, None] * truth.taste_start[visits.users] + sin[:, None] * truth.taste_end[visits.users]
    liking = known.category_weights(taste)
    factor = MIX[0] + MIX[1] * liking / liking.sum(axis=1, keepdims=True) / known.category_share
    at = visits.at[:, None]
    on_sale = (truth.launched_at <= at) & (at < truth.sold_out_at)
    if visits.sold_out is not None:
        on_sale &= ~visits.sold_out[visits.region]
    return np.asarray(shop.world.item_weight * factor[:, truth.item_category] * on_sale, dtype=np.float64)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_probabilities_of_all_slates_sum_to_one(shop, at_end, share):
    slates = np.array(list(permutations(range(6), 3)))
    visits = _same_visit(shop, len(slates), at_end)
    log = SoftmaxPolicy(shop.world, share, 3).log_propensities(visits, slates)
    assert np.exp(log.sum(axis=1)).sum() == pytest.approx(1.0, abs=1e-12)
    on_sale = _weights(shop, visits)[0] > 0
    assert on_sale.sum() == (5 if at_end else 6)
    assert (np.isneginf(log.sum(axis=1)) == ~on_sale[slates].all(axis=1)).all()
    # Given any two slots, the third is a distribution too.
    first, second = np.flatnonzero(on_sale)[[1, 3]]
    third = np.exp(log[(slates[:, 0] == first) & (slates[:, 1] == second)])[:, 2]
    assert third.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("sold_out", [False, True])
def test_slates_come_as_often_as_their_propensity_says(shop, sold_out):
    visits = _same_visit(shop, 60_000, at_end=True)
    if sold_out:
        visits = replace(visits, sold_out=np.arange(6)[None, :] == 2)
    slates = shop.logging_policy()(np.random.default_rng(3), visits)
    assert slates.explored.mean() == pytest.approx(0.2, abs=0.01)
    every = np.array(list(permutations(range(6), 3)))
    same = Visits(*(values[: len(every)] for values in (visits.users, visits.at, visits.device, visits.region)))
    log = shop.logging_policy().log_propensities(replace(same, sold_out=visits.sold_out), every).sum(axis=1)
    code = np.array([100, 10, 1])
    count = np.bincount(slates.items @ code, minlength=600)[every @ code]
    expected = np.exp(log) * len(visits)
    assert count[expected == 0].sum() == 0
    assert count.sum() == len(visits)
    possible = expected > 0
    statistic = ((count - expected)[possible] ** 2 / expected[possible]).sum()
    degrees = possible.sum() - 1
    assert abs(statistic - degrees) < 4.5 * np.sqrt(2 * degrees)
    stated = log[np.searchsorted(every @ code, slates.items @ code)]
    np.testing.assert_allclose(slates.log_propensity.sum(axis=1), stated, rtol=1e-12)


def test_propensities_equal_the_plain_sums_over_a_catalogue_that_changes():
    config = ShopConfig(
        num_users=50, num_items=700, cold_item_fraction=0.2, out_of_stock_fraction=0.2, random_share=0.1
    )
    shop = open_shop(config)
    visits = draw_visits(shop, 300, 5)
    visits = replace(visits, region=np.arange(300) % 2, sold_out=np.random.default_rng(1).random((2, 700)) < 0.4)
    slates = shop.logging_policy()(np.random.default_rng(2), visits)
    weight = _weights(shop, visits)
    softmax = chance = np.zeros(300)
    before = np.zeros(300)
    for slot in range(10):
        item = slates.items[:, slot]
        rows = np.arange(300)
        assert (weight[rows, item] > 0).all()
        softmax = softmax + np.log(weight[rows, item] / weight.sum(axis=1))
        chance = chance - np.log((weight > 0).sum(axis=1))
        weight[rows, item] = 0.0
        mixture = np.log(0.9 * np.exp(softmax) + 0.1 * np.exp(chance))
        np.testing.assert_allclose(slates.log_propensity[:, slot], mixture - before, atol=1e-9)
        before = mixture


def test_without_a_share_of_chance_it_is_the_softmax_of_a_served_chain(shop):
    config = ShopConfig(num_users=50, num_items=90, cold_item_fraction=0.2, out_of_stock_fraction=0.2, random_share=0.0)
    shop = open_shop(config)
    visits = draw_visits(shop, 40, 5)
    slates = shop.logging_policy()(np.random.default_rng(2), visits)
    with np.errstate(divide="ignore"):
        same = explore.log_propensities(np.log(_weights(shop, visits)), slates.items, 1.0)
    np.testing.assert_allclose(slates.log_propensity, same, atol=1e-9)


def test_a_scored_policy_draws_from_what_is_on_sale_with_the_propensity_that_it_states(shop):
    visits = replace(_same_visit(shop, 30_000, at_end=True), sold_out=np.arange(6)[None, :] == 2)
    policy = ScoredPolicy(shop.world, true_clicks(shop.world), 3, 0.7, tells_candidates=True)
    slates = policy(np.random.default_rng(1), visits)
    log = policy.log_propensities(visits, slates.items)
    np.testing.assert_allclose(slates.log_propensity, log, rtol=1e-12)
    assert (_weights(shop, visits)[0] > 0)[slates.items].all()
    assert ((slates.candidates < 0) == np.isneginf(slates.scores)).all()
    code = slates.items @ np.array([100, 10, 1])
    for one in np.unique(code):
        chance = np.exp(log[code == one][0].sum())
        assert abs((code == one).mean() - chance) < 4.5 * np.sqrt(chance * (1 - chance) / len(visits))


def test_the_first_slot_is_that_of_the_policy_without_propensities():
    shop = open_shop(ShopConfig(num_users=40, num_items=60, cold_item_fraction=0.0, out_of_stock_fraction=0.0))
    visits = _same_visit(shop, 40_000, at_end=False)
    mix = LoggingPolicy(shop.world).show(np.random.default_rng(1), visits.users, visits.at, 1)[0][:, 0]
    chance = np.exp(
        SoftmaxPolicy(shop.world, 0.0, 1).log_propensities(_same_visit(shop, 60, False), np.arange(60)[:, None])
    )
    expected = chance[:, 0] * len(visits)
    assert expected.sum() == pytest.approx(len(visits))
    statistic = ((np.bincount(mix, minlength=60) - expected) ** 2 / expected).sum()
    assert abs(statistic - 59) < 4.5 * np.sqrt(2 * 59)


def test_a_slate_ends_where_nothing_is_left(shop):
    visits = replace(_same_visit(shop, 50, at_end=True), sold_out=~np.isin(np.arange(6), [0, 1])[None, :])
    on_sale = int((_weights(shop, visits)[0] > 0).sum())
    slates = shop.logging_policy()(np.random.default_rng(1), visits)
    assert on_sale in (1, 2)
    assert ((slates.items >= 0).sum(axis=1) == on_sale).all()
    assert (slates.log_propensity[slates.items < 0] == 0).all()
    assert np.isfinite(slates.log_propensity).all()
