"""Floors that are shares over all slates: prices against a search over all of them, and the chain that is served."""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.config_order import BoostRule, CapRule, FloorRule, OrderConfig
from ensemble.export.compile import compile_chain
from ensemble.export.prices import STEPS, ShareFloor, learnt_prices, share_of
from ensemble.export.sample import Sample
from runtime.chain import Chain
from runtime.slate_spec import Cap, SlateSpec
from tests.ensemble.synthetic import make_run, user_id

# The context of the only event of the run, in which an export asks for the slates that it learns by.
EVENT = {"device": np.array([[b"phone"]], object), "hour": np.array([[3]]), "temperature": np.array([[20.0]])}
SIZES = {"num_candidates": 30, "slate_size": 5, "max_slate_size": 20, "instances": 1}
RANDOM = np.random.default_rng(4)
KINDS = RANDOM.integers(0, 4, 60).astype(np.int32)


def sample(num_users=80, **rules):
    rows = np.stack([RANDOM.permutation(60)[:20] for _ in range(num_users)]).astype(np.int32)
    # Items of the kinds 1 and 2 are worse.
    utilities = (RANDOM.normal(size=rows.shape) - 1.5 * np.isin(KINDS[rows], (1, 2))).astype(np.float32)
    history = np.zeros((num_users, 1), np.int32)
    return Sample(rows, utilities, np.exp(utilities.astype(float)), history, SlateSpec(**rules), {"kind": KINDS}, 5)


def by_sorting(world, added):
    """Slates of the users who are learnt on, by a loop."""
    rows, utilities = world.rows[::2], world.utilities[::2]
    slates = []
    for own, values in zip(rows.tolist(), utilities, strict=True):
        more = [np.float32(added.get(int(KINDS[item]), 0.0)) for item in own]
        total = dict(zip(own, values + more, strict=True))
        slates.append(sorted(own, key=lambda item: (-total[item], item))[:5])
    return np.array(slates)


def test_prices_are_the_lowest_with_which_every_floor_gets_its_share():
    world = sample()
    floors = [ShareFloor(KINDS == 1, 0.3, 0), ShareFloor(KINDS == 2, 0.2, 0)]
    found = learnt_prices(world, floors)
    for before, floor, learnt in zip(found.before, floors, found.learnt, strict=True):
        assert 0 < before < floor.share <= learnt
    step = float(np.ptp(world.utilities)) * 1.01 / STEPS
    for lowered in (0, 1):
        prices = [price - step * (number == lowered) for number, price in enumerate(found.prices)]
        shares = [share_of(floor, by_sorting(world, dict(zip((1, 2), prices, strict=True)))) for floor in floors]
        assert shares[lowered] < floors[lowered].share
    shares = [share_of(floor, by_sorting(world, dict(zip((1, 2), found.prices, strict=True)))) for floor in floors]
    assert shares == found.learnt and found.num_users == 40 and 0 < found.loss < 1
    assert found.after == pytest.approx([0.3, 0.2], abs=0.06)  # users that they were not learnt on


def test_a_floor_that_is_met_costs_nothing_and_one_that_cannot_be_gets_all_there_is():
    world = sample()
    met, beyond = ShareFloor(KINDS == 0, 0.05, 0), ShareFloor(KINDS == 1, 1.0, 0)
    found = learnt_prices(world, [met])
    assert found.prices == [0.0] and found.loss == 0.0 and found.before == found.after
    found = learnt_prices(world, [beyond])
    there = [min(5, int((KINDS[own] == 1).sum())) for own in world.rows[::2]]
    assert found.learnt == [pytest.approx(np.mean(there) / 5)]


def test_places_and_other_rules_count():
    world = sample(caps=(Cap("kind", 2, 0),))
    found = learnt_prices(world, [ShareFloor(KINDS == 1, 0.35, 0), ShareFloor(KINDS == 2, 0.5, 2)])
    slates = world.slates(world.spec, {})
    assert max(np.bincount(KINDS[slate]).max() for slate in world.items(slates)) <= 2
    assert found.learnt[0] >= 0.35 and found.learnt[1] >= 0.5
    assert found.prices[0] > 0


def test_an_export_serves_the_share_and_says_what_it_costs(tmp_path, capsys):
    run, config = make_run(tmp_path / "run")
    items = pq.read_table(run.folder("data") / "items.parquet").to_pydict()
    floor = FloorRule(column="price", op="<", value=-0.8, share=0.4)
    rules = {
        "caps": [CapRule(column="category", most=2)],
        "order": OrderConfig(explore="softmax", diversity="mmr", strength="auto", max_utility_loss=0.05),
    }
    chains = {}
    for name, floors in (("plain", []), ("floored", [floor])):
        config = msgspec.structs.replace(config, chain=ChainConfig(**SIZES, **rules, floors=floors))
        capsys.readouterr()
        compile_chain(run, config, tmp_path / name, "eval")
        chains[name] = Chain.load(tmp_path / name)
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        r"chain\.floors\[0\]: (3[6-9]|4\d)\.\d\d% of the places of slates of 30 users, \d\d\.\d\d% without", said
    )
    assert "chain.floors with shares: slates are worth" in said
    cheap = {item for item, price in zip(items["item_id"], items["price"], strict=True) if price < -0.8}
    shares = {}
    for name, chain in chains.items():
        slates = [
            chain.recommend({"user_id": np.array([[user_id(row, False)]]), **EVENT})["item_id"][0] for row in range(60)
        ]
        shares[name] = np.mean([item in cheap for slate in slates for item in slate.tolist()])
    assert shares["plain"] < 0.3 and shares["floored"] == pytest.approx(0.4, abs=0.04)
    # It is a boost, of a size that was learnt: nothing else is in the chain.
    size = float(np.load(tmp_path / "floored/order/boosts_0.npy").max())
    chosen = json.loads((tmp_path / "floored/chain.json").read_text())["order"]["slates"]["diversity"]["weight"]
    order = msgspec.structs.replace(rules["order"], explore="none", strength=chosen / (1 + chosen))
    boost = BoostRule(column="price", op="<", value=-0.8, add=size)
    chain = ChainConfig(**SIZES, caps=rules["caps"], order=order, boosts=[boost])
    compile_chain(run, msgspec.structs.replace(config, chain=chain), tmp_path / "boosted", "eval")
    request = {"user_id": np.array([[user_id(3, False)]])}
    answers = [each.recommend(request)["item_id"] for each in (chains["floored"], Chain.load(tmp_path / "boosted"))]
    assert answers[0].tolist() == answers[1].tolist()
