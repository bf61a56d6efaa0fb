"""On a device too: live events and stock, pinned items, and the parts of the ensemble layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.config_order import CapRule, PinRule
from ensemble.export.compile import compile_chain
from ensemble.export.eligibility import eligible_items
from runtime.chain import Chain, open_nodes
from runtime.device.device import stand_in
from runtime.device.plan import on_device
from runtime.device.retrieve import Retrieve
from runtime.plan import Node
from runtime.spec import ChainSpec
from runtime.step import Step
from runtime.stream.folder import FOLDER_VARIABLE
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.runtime.device.test_chain import requests, same
from tests.runtime.stream.test_live import NOBODY, World
from tests.runtime.stream.writer import Writer


def place(nodes: Any, spec: ChainSpec) -> list[tuple[Node, Step]]:
    taken, reasons = on_device(nodes, spec, stand_in())
    assert reasons == []
    return taken


def test_live_events_and_stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "events"))
    world = World(tmp_path, further=True)
    assert world.spec.live_stock
    with Writer(tmp_path / "events", world.stream) as writer:
        here, there = Chain(tmp_path / "live"), Chain(tmp_path / "live", place=place)
        asked = [{"user_id": world.user(*range(12), NOBODY, NOBODY + 1)}, {"user_id": world.user(3)}]
        rng, before = np.random.default_rng(0), ""
        for round_ in range(4):
            for request in asked:
                same(here.recommend(request), there.recommend(request))
            slates = str(there.recommend(asked[0])["item_id"].tolist())
            assert slates != before
            before = slates
            for item in rng.integers(0, 120, 30).tolist():
                writer.send(world.stock(item, float(rng.random() < 0.5), at=round_ + 1))
            writer.send(*world.clicks(NOBODY, *rng.integers(0, 120, 3).tolist(), at=10 * round_ + 1))
            writer.send(*world.clicks(3, *rng.integers(0, 120, 2).tolist(), at=10 * round_ + 5))


def test_pinned_items_and_rules_of_slates(tmp_path: Path) -> None:
    run, config = make_run(tmp_path / "plain")
    eligible = np.flatnonzero(eligible_items(run.folder("data") / "items.parquet", config)).tolist()
    pins = [PinRule(item=item_id(eligible[row], False), slot=slot) for row, slot in ((40, 2), (5, 1))]
    chain = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, pins=pins, caps=[CapRule("price", most=1)])
    run, config = make_run(tmp_path / "run", chain=chain)
    compile_chain(run, config, tmp_path / "chain", "serve")
    here, there = Chain(tmp_path / "chain"), Chain(tmp_path / "chain", place=place)
    for request in (*requests(False), {"user_id": np.array([[user_id(900, False)]])}):
        same(here.recommend(request), there.recommend(request))


def test_the_part_of_the_ensemble_layout_that_retrieves(tmp_path: Path) -> None:
    run, config = make_run(tmp_path / "run", further=True)
    plan = compile_chain(run, config, tmp_path / "chain", "serve")
    spec = ChainSpec.load(tmp_path / "chain")
    arrays: dict[str, Any] = {}
    chain = Chain(tmp_path / "chain")
    parsed = chain.request_step.parse(requests(False)[2])
    for node in plan.nodes[:2]:
        opened = open_nodes([node], tmp_path / "chain", spec)[0]
        opened.encode(arrays, parsed) if not node.parents else opened.run(arrays)
    model = next(node.model for node in plan.nodes if node.name == "merge")
    found = []
    for of in (None, place):
        given = dict(arrays)
        nodes = open_nodes(plan.of_model(model), tmp_path / "chain", spec, of)
        assert any(isinstance(node.step, Retrieve) for node in nodes) == (of is place)
        for opened in nodes:
            opened.run(given)
        found.append({tensor.name: given[tensor.name] for tensor in plan.boundary(model, spec)[1]})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        np.testing.assert_allclose(found[1][name], expected, atol=2e-5)
