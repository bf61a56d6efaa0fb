"""What the rules for slates did to a slate, beside chains that have the other rules alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.config_order import OrderConfig, PinRule
from ensemble.export.compile import compile_chain
from operations.why.funnel import Funnel, funnel_of
from operations.why.nodes import nodes_of
from operations.why.ran import ran
from operations.why.request import RawRequest
from operations.why.rules import read_rules
from runtime.chain import Chain
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.ensemble.test_slate_rules import RULES as SOME_RULES
from tests.ensemble.test_slate_rules import SIZES
from workflows.core.run import Run

USERS = (9, 2, 0, 5)
# The keys of the config by the kinds of rules that they are; a pin also makes its item a candidate.
KEYS = {"boosts": "boosts", "caps": "caps", "floors": "floors", "diversity": "order"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Any, Path]:
    root = tmp_path_factory.mktemp("moves")
    return *make_run(root / "run", chain=ChainConfig(**SIZES)), root


def funnels(world: tuple[Run, Any, Path], name: str, rules: dict[str, Any]) -> list[Funnel]:
    run, config, root = world
    config = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, **rules))
    compile_chain(run, config, root / name, "serve")
    chain = Chain.load(root / name)
    nodes, met = nodes_of(chain, root / name), read_rules(run.folder("data") / "items.parquet", config)
    nobody = np.zeros(0, np.int32)
    asked = [RawRequest(user_id(user, False), {}, slate_size=8).checked(chain) for user in USERS]
    return [funnel_of(ran(nodes, each, nobody), met, np.load(root / name / "ids/items.npy")) for each in asked]


def rows(funnel: Funnel) -> list[int]:
    return [shown.row for shown in funnel.slate]


def test_each_kind_is_told_by_a_chain_without_it(world: tuple[Run, Any, Path]) -> None:
    plain = funnels(world, "none", {})
    pinned = PinRule(item=item_id(plain[0].found[0].first[-1][0], False), slot=3)
    rules = {**SOME_RULES, "pins": [pinned], "order": OrderConfig(diversity="mmr", strength=0.6)}
    found = funnels(world, "all", rules)
    differing = 0
    for kind, key in KEYS.items():
        without = funnels(world, kind, {name: rule for name, rule in rules.items() if name != key})
        for ruled, other in zip(found, without, strict=True):
            moves = next(each for each in ruled.rules if each.kind == kind)
            shown, before = rows(ruled), rows(other)
            assert moves.brought == [row for row in shown if row not in before]
            assert moves.pushed_out == [row for row in before if row not in shown]
            both = [row for row in shown if row in before]
            assert moves.num_moved == sum(shown.index(row) != before.index(row) for row in both)
            differing += shown != before
    assert differing > len(KEYS)
    for ruled in found:
        moves, row = next(each for each in ruled.rules if each.kind == "pins"), rows(ruled)[2]
        assert item_id(row, False) == pinned.item and (row in moves.brought or moves.num_moved)
    for ruled, other in zip(found[:2], plain[:2], strict=True):
        stage = next(each for each in ruled.stages if each.name == "rules for slates")
        assert stage.count == len({*rows(ruled)} & {*rows(other)})
        assert not other.rules and not any(each.name == "rules for slates" for each in other.stages)
