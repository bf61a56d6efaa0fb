"""Units are neither made nor lost, and variants that sell from the same shelves take from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workflows.core.errors import DataError
from workflows.shop.config import ShopConfig, StockConfig
from workflows.shop.laboratory import Shop, draw_visits, open_shop
from workflows.shop.play import Played, play, true_value
from workflows.shop.scored import ScoredPolicy
from workflows.shop.truth import Array
from workflows.shop.visits import Slates, Visits

SCARCE = StockConfig(regions=2, units=4.0, arrivals_per_day=0.0, central_share=0.3)
CONFIG = ShopConfig(
    num_users=400, num_items=80, cold_item_fraction=0.0, out_of_stock_fraction=0.0, policy="softmax", stock=SCARCE
)
NUM_VISITS = 4_000


def _eager(shop: Shop, temperature: float = 0.1) -> ScoredPolicy:
    """Shows what the user would buy; a high temperature shows anything."""
    truth, every = shop.world.truth, np.arange(80)[None, :]

    def score(visits: Visits) -> Array:
        users, at = visits.users[:, None], visits.at[:, None]
        logit = truth.click_logit(users, every, at, visits.device[:, None], visits.hour[:, None])
        return (logit + truth.purchase_logit(users, every, at)).astype(np.float64)

    return ScoredPolicy(shop.world, score, 5, temperature)


def _sold(played: Played, rows: Array | slice = slice(None)) -> float:
    return float(played.purchase[rows].sum(axis=1).mean())


def test_what_is_sold_leaves_the_shelves_and_nothing_else_does():
    shop = open_shop(CONFIG)
    before, by_item = shop.stock.units, shop.stock.local.sum(axis=(0, 1)) + shop.stock.central.sum(axis=0)
    visits = draw_visits(shop, NUM_VISITS, 1)
    played = play(shop, _eager(shop), visits, 2)
    sold = np.bincount(played.slates.items[played.purchase == 1], minlength=80)
    left = shop.stock.local.sum(axis=(0, 1)) + shop.stock.central.sum(axis=0)
    assert before - shop.stock.units == played.purchase.sum() == sold.sum()
    assert (by_item - sold == left).all()
    assert (left >= 0).all()
    assert (left == 0).sum() > 20
    assert open_shop(CONFIG).stock.units == before


def test_a_region_sells_out_by_itself_and_the_policy_then_shows_something_else():
    shop = open_shop(CONFIG)
    shop.stock.central[:] = 0
    shop.stock.local[:, 0, :40] = 0
    visits = draw_visits(shop, 600, 1)
    played = play(shop, shop.logging_policy(), visits, 2, per_block=50)
    here, shown = visits.region == 0, played.slates.items
    assert not ((shown[here] >= 0) & (shown[here] < 40)).any()
    assert ((shown[~here] >= 0) & (shown[~here] < 40)).any()


def test_units_that_arrive_do_not_depend_on_what_was_sold():
    config = replace_stock(StockConfig(regions=2, units=1.0, arrivals_per_day=0.5, central_share=0.5))
    totals = []
    for temperature in (0.1, 50.0):
        shop = open_shop(config)
        before = shop.stock.units
        played = play(shop, _eager(shop, temperature), draw_visits(shop, 1_000, 1), 2, per_block=10)
        totals.append(shop.stock.units + int(played.purchase.sum()) - before)
    assert totals[0] == totals[1]
    assert totals[0] == pytest.approx(0.5 * 80 * 59, rel=0.1)


def test_splitting_deals_out_every_unit():
    stock = open_shop(CONFIG).stock
    halves = stock.split(2)
    assert halves.units == stock.units
    assert (halves.local.sum(axis=0) == stock.local.sum(axis=0)).all()
    assert (halves.central.sum(axis=0) == stock.central.sum(axis=0)).all()
    assert halves.central[0].sum() == pytest.approx(halves.central[1].sum(), rel=0.5)


def test_variants_interfere_unless_the_stock_is_split():
    """A variant that sells faster empties the shelves of the other, and looks better than it is."""

    def run(variant: Array, split: bool) -> Played:
        shop = open_shop(CONFIG)
        visits = draw_visits(shop, NUM_VISITS, 1)
        if split:
            shop = replace(shop, stock=shop.stock.split(2))
            visits = replace(visits, region=visits.region + variant * SCARCE.regions)
        eager, lazy = _eager(shop), _eager(shop, 50.0)
        by_instant = dict(zip(zip(visits.users.tolist(), visits.at.tolist(), strict=True), variant, strict=True))

        def both(rng: np.random.Generator, block: Visits) -> Slates:
            key = zip(block.users.tolist(), block.at.tolist(), strict=True)
            is_eager = np.array([by_instant[one] for one in key]) == 1
            first, second = eager(rng, block), lazy(rng, block)
            return replace(first, items=np.where(is_eager[:, None], first.items, second.items))

        return play(shop, both, visits, 2)

    everybody = [_sold(run(np.full(NUM_VISITS, arm), split=False)) for arm in (0, 1)]
    truth = everybody[1] - everybody[0]
    half = np.random.default_rng(5).integers(2, size=NUM_VISITS)
    shared, split = (run(half, split=split) for split in (False, True))
    told = {name: _sold(one, half == 1) - _sold(one, half == 0) for name, one in (("shared", shared), ("split", split))}
    assert told["shared"] > truth + 0.02
    assert abs(told["split"] - truth) < 0.5 * (told["shared"] - truth)


def test_a_value_by_sums_is_refused_where_stock_sells_out():
    shop = open_shop(CONFIG)
    with pytest.raises(DataError, match="a policy's value is no sum over visits where stock sells out; play it"):
        true_value(shop, shop.logging_policy(), draw_visits(shop, 10, 1), "click", 1)


def replace_stock(stock: StockConfig) -> ShopConfig:
    return ShopConfig(
        num_users=400, num_items=80, cold_item_fraction=0.0, out_of_stock_fraction=0.0, policy="softmax", stock=stock
    )
