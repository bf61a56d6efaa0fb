"""The benchmark of the rules of slates: what it measures are slates that keep the rules."""

from __future__ import annotations

import numpy as np

from benchmarks.slate_rules.measure import SIZE, Settings, World, costs_of, result_of
from benchmarks.slate_rules.rules import BRAND, EVERYTHING, NEW, rules_of, write_values
from runtime.rerank import SlateRuler
from runtime.slate_spec import VECTORS_FILE


def test_each_rule_is_measured_on_slates_that_keep_it(tmp_path):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(600, 8)).astype(np.float32)
    files = {**write_values(tmp_path, 600), VECTORS_FILE: vectors}
    rows = np.stack([random.permutation(600)[:60] for _ in range(4)]).astype(np.int32)
    world = World(rows, random.normal(size=rows.shape).astype(np.float32), random.integers(0, 600, (4, 9)), files)
    rules = rules_of(rows[0, :2])
    for spec in rules.values():
        assert min(costs_of(spec, world, 2, 1)) > 0
    places = SlateRuler(rules[EVERYTHING], files).ordered(world.utilities, rows, np.full(4, SIZE))
    slates = np.take_along_axis(rows, places, 1)
    assert slates[0, 1:3].tolist() == rows[0, :2].tolist()
    for slate in slates:
        brands = files[BRAND][slate[:10]]
        assert files[NEW][slate[:5]].any() and np.bincount(brands[brands >= 0]).max() <= 2


def test_the_costliest_rule_and_the_growth_of_the_served_chain_are_judged():
    costs = [["mmr", 200.0, 1.0, 1.0, 1.0], ["dpp", 510.0, 1.0, 1.0, 1.0]]
    times, served = {"none": 1.0, "mmr": 1.5}, {"none": 2.0, "mmr": 2.1}
    found = result_of((100, 200, 8), Settings(4, 2, 1), (0.0, 1.0), costs, times, served)
    first, second = found.targets
    assert not first.met and first.value == 510.0 and first.note == "dpp."
    assert second.met and abs(second.value - 0.05) < 1e-9
    assert found.figures[1].rows[1] == ["mmr", 1.5, 0.5, 2.1, second.value]
