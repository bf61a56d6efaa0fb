"""What would have changed an answer, as brute force says of a world in which it is so."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig, FilterRule
from operations.why.asking import Outcome
from operations.why.history import history_of, left_out
from operations.why.nodes import nodes_of
from runtime.chain import Chain
from runtime.spec import ChainSpec
from tests.operations.why.oracle import WhyOracle
from tests.operations.why.world import STRANGER, World

RULES = [FilterRule(column="price", op="<", value=0.8), FilterRule(column="category", op="!=", value="c4")]
HOLD = {0: lambda category, price: price < 0.8, 1: lambda category, price: category != "c4"}
CHAIN = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, rules=RULES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("changes"), CHAIN, tuple(HOLD.values()), further=True)


def agrees(outcome: Outcome, world: World, oracle: WhyOracle, user: int, row: int, **request: Any) -> None:
    expected = oracle.why(world.user(user), row, **request)
    lost = "sources" if outcome.lost_at == "index" else outcome.lost_at
    assert (lost, outcome.place, outcome.rank) == (expected.lost_at, expected.place, expected.rank)


def another(world: World, **changes: Any) -> WhyOracle:
    """The oracle of a chain with other keys."""
    oracle = copy.copy(world.oracle)
    oracle.chain = msgspec.structs.replace(world.config.chain, **changes)
    return oracle


def forgetful(world: World, user: int, item: int) -> WhyOracle:
    """The oracle of a world in which a user has not interacted with an item."""
    oracle = copy.copy(world.oracle)
    oracle.seen = [seen - {item} if row == user else seen for row, seen in enumerate(oracle.seen)]
    oracle.history = oracle.history.copy()
    kept = [row for row in oracle.history[user].tolist() if row not in (item, -1)]
    oracle.history[user] = kept + [-1] * (len(oracle.history[user]) - len(kept))
    return oracle


def test_without_an_item_of_the_history(world: World) -> None:
    for user, number, recent in ((2, 5, []), (9, 3, [11, 12]), (14, 70, [])):
        row = [row for row in world.oracle.eligible if row not in world.oracle.seen[user]][number]
        asking = world.ask(user, row, recent=recent)
        items = history_of(asking)
        assert set(items) == (world.oracle.seen[user] | set(recent)) - {row}
        assert items[: len(recent)] == recent[::-1]
        left = left_out(asking, items)
        assert {one.item_id for one in left} == {world.nodes.raw_id(item) for item in items}
        for one in left:
            item = world.ids.tolist().index(one.item_id)
            kept = world.items(other for other in recent if other != item)
            agrees(one.outcome, world, forgetful(world, user, item), user, row, recent=kept)


def test_without_a_rule_and_in_stock(world: World) -> None:
    forbidden = [row for row in range(300) if row not in world.oracle.eligible]
    kinds = set()
    for row in forbidden[:25]:
        asking = world.ask(9, row)
        category, price = raw(world, row)
        broken = [number for number, holds in HOLD.items() if not holds(category, price)]
        changes = world.changes(asking)
        others = tuple(holds for number, holds in HOLD.items() if number not in broken[-1:])
        if not broken:
            oracle = copy.copy(world.oracle)
            oracle.eligible = sorted([*oracle.eligible, row])
        else:
            oracle = WhyOracle(world.run.root, world.config.chain, "serve", others)
        agrees(changes["rule"].outcome, world, oracle, 9, row)
        kinds |= {change.words for change in changes.values()}
        assert changes["rule"].words == (
            "were it in stock" if not broken else f"without the rule chain.rules[{broken[-1]}] {words(broken[-1])}"
        )
    assert any("chain.rules[0]" in kind for kind in kinds) and "were it in stock" in kinds


def words(number: int) -> str:
    return ("(price < 0.8)", "(category != 'c4')")[number]


def raw(world: World, row: int) -> tuple[str, float]:
    import pyarrow.parquet as pq

    table = pq.read_table(world.run.folder("data") / "items.parquet")
    return table["category"][row].as_py(), table["price"][row].as_py()


def test_an_item_in_several_states_is_lost_at_the_first_and_all_are_listed(world: World) -> None:
    user = 9
    row = next(row for row in sorted(world.oracle.seen[user]) if row not in world.oracle.eligible)
    asking = world.ask(user, row, excluded=[row, 3])
    assert asking.way.lost_at == "eligibility"
    changes = world.changes(asking)
    assert [changes[kind].outcome.lost_at for kind in ("exclude", "seen", "filter_seen")] == ["eligibility"] * 3
    oracle = forgetful(world, user, row)
    oracle.eligible = sorted([*oracle.eligible, row])
    agrees(changes["all"].outcome, world, oracle, user, row, exclude=world.items([3]))


def test_without_the_filter_of_seen_items_and_without_the_exclusion(world: World) -> None:
    user = 2
    row = next(row for row in sorted(world.oracle.seen[user]) if row in world.oracle.eligible)
    changes = world.changes(world.ask(user, row))
    agrees(changes["seen"].outcome, world, forgetful(world, user, row), user, row)
    agrees(changes["filter_seen"].outcome, world, another(world, filter_seen=False), user, row)
    free = next(row for row in world.oracle.eligible if row > 1 and row not in world.oracle.seen[user])
    changes = world.changes(world.ask(user, free, excluded=[free, 1]))
    agrees(changes["exclude"].outcome, world, world.oracle, user, free, exclude=world.items([1]))
    assert list(changes) == ["exclude"]


def test_the_fewest_candidates_that_let_an_item_in(world: World) -> None:
    tried = 0
    for user, row in [(9, row) for row in world.oracle.eligible[::17]] + [(STRANGER, row) for row in (7, 60)]:
        asking = world.ask(user, row)
        if world.found(asking)[0] not in ("sources", "merge"):
            continue
        change, tried = world.changes(asking)["candidates"], tried + 1
        count = change.figures["num_candidates"]
        # A quota is a number of items that the export has made of a share, and stays.
        quotas = {s.name: s.quota / count for s in world.nodes.spec.sources}
        oracle = another(world, num_candidates=count)
        oracle.sources = {n: {**r, "quota": quotas.get(n, 0)} for n, r in world.oracle.sources.items()}
        agrees(change.outcome, world, oracle, user, row)
        fewer = another(world, num_candidates=count - 1)
        quotas = {s.name: s.quota / (count - 1) for s in world.nodes.spec.sources}
        fewer.sources = {n: {**r, "quota": quotas.get(n, 0)} for n, r in world.oracle.sources.items()}
        assert fewer.why(world.user(user), row).lost_at in ("sources", "merge")
    assert tried > 5


def test_a_slate_that_reaches_down_to_an_item(world: World) -> None:
    asking = next(
        asking for asking in (world.ask(9, row) for row in world.oracle.eligible) if asking.way.lost_at == "slate"
    )
    assert asking.way.ordered is not None
    change = world.changes(asking)["slate_size"]
    assert change.outcome.place == asking.way.ordered.rank == change.figures["slate_size"]
    assert ("max_slate_size" in change.words) == (asking.way.ordered.rank > 15)


def test_an_item_as_a_candidate_is_ranked_as_brute_force_ranks_it(world: World) -> None:
    row = next(row for row in world.oracle.eligible if world.ask(9, row).way.lost_at == "sources")
    outcome = world.changes(world.ask(9, row))["candidate"].outcome
    more = world.changes(world.ask(9, row))["candidates"].outcome
    assert outcome.score == more.score and outcome.rank is not None and more.rank is not None
    assert outcome.rank <= more.rank


def test_what_an_index_misses_is_lost_there_and_found_by_an_exact_search(tmp_path: Path) -> None:
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15)
    world = World(tmp_path, chain, index="ivf", num_items=800)
    spec = ChainSpec.load(world.folder)
    replace(spec, index=replace(spec.index, nprobe=1)).save(world.folder)
    world.chain = Chain.load(world.folder)
    world.nodes = nodes_of(world.chain, world.folder)
    missed = 0
    for row in world.oracle.eligible:
        by_source = world.oracle.why(world.user(2), row).by_source
        if by_source is None or by_source["towers"] > 20:
            continue
        asking = world.ask(2, row)
        lost, stands = world.found(asking)
        assert stands["towers"] is not None and stands["towers"].rank == by_source["towers"]
        if lost == "index":
            missed += 1
            agrees(world.changes(asking)["index"].outcome, world, world.oracle, 2, row)
    assert 0 < missed <= 20


def test_asking_changes_nothing_of_what_the_chain_answers(world: World) -> None:
    request = {"user_id": np.array([[world.user(row)] for row in range(20)])}
    before = Chain.load(world.folder).recommend(request)
    for row in (3, 40, 299):
        asking = world.ask(9, row)
        world.changes(asking)
        left_out(asking, history_of(asking))
    after = world.chain.recommend(request)
    assert {name: values.tolist() for name, values in before.items()} == {n: v.tolist() for n, v in after.items()}
