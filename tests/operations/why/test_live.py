"""Why, where live events count: what the user has just interacted with, and what has just gone out of stock."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from operations.why.deep import deep_ranks
from operations.why.history import history_of, left_out
from operations.why.nodes import nodes_of
from operations.why.rules import read_rules
from operations.why.trace import lost_at, steps_of
from runtime.chain import Chain
from runtime.stream.live import events_in
from tests.operations.why.oracle import WhyOracle
from tests.operations.why.test_changes import agrees
from tests.operations.why.world import World
from tests.runtime.stream.writer import Writer, stock
from workflows.stream.config import StreamConfig

USER = 9
CHAIN = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A user clicks two items; one that is in stock goes out of it, one that is out of it comes in."""
    root = tmp_path_factory.mktemp("live")
    world = World(root, CHAIN, num_items=120, num_users=20, further=True)
    config = msgspec.structs.replace(world.config, stream=StreamConfig())
    compile_chain(world.run, config, root / "live", "serve")
    with events_in(root / "events"):
        world.folder, world.chain = root / "live", Chain.load(root / "live")
        world.nodes = nodes_of(world.chain, world.folder)
        assert world.nodes.spec.live is not None
        with Writer(root / "events", world.nodes.spec.live.stream) as writer:
            writer.send(
                *({"user": world.user(USER), "item": world.items([row])[0], "at": 10 + row} for row in clicked(world)),
                stock(world.items([gone(world)])[0], 0.0),
                stock(world.items([back(world)])[0], 1.0),
            )
            yield world


def clicked(world: World) -> tuple[int, int]:
    """Two items that the user had not interacted with."""
    new = [row for row in world.oracle.eligible if row not in world.oracle.seen[USER]]
    return new[5], new[9]


def gone(world: World) -> int:
    """Of the tables in stock, and out of it since."""
    return next(row for row in world.oracle.eligible[20:] if row not in (*world.oracle.seen[USER], *clicked(world)))


def back(world: World) -> int:
    """The other way round."""
    return next(row for row in range(120) if row not in world.oracle.eligible and row not in world.oracle.seen[USER])


def words(world: World, row: int) -> dict[str, str]:
    asking = world.ask(USER, row)
    deep = deep_ranks(asking.way)
    rules = read_rules(world.run.folder("data") / "items.parquet", world.config)
    return {step.name: step.words for step in steps_of(asking, rules, lost_at(asking.way, deep), deep)}


def now(world: World) -> WhyOracle:
    """The oracle of what is in stock now."""
    oracle = copy.copy(world.oracle)
    oracle.eligible = sorted({*oracle.eligible, back(world)} - {gone(world)})
    return oracle


def test_a_click_is_seen_as_a_live_event_says_and_without_it_the_item_is_where_brute_force_has_it(world: World) -> None:
    row, other = clicked(world)
    asking = world.ask(USER, row)
    assert asking.way.lost_at == "seen"
    assert "as a live event says" in words(world, row)["seen"]
    agrees(world.changes(asking)["seen"].outcome, world, now(world), USER, row, recent=world.items([other]))


def test_without_each_item_of_the_history_and_of_the_events(world: World) -> None:
    oracle = now(world)
    row = next(row for row in oracle.eligible if row not in (*oracle.seen[USER], *clicked(world)))
    asking = world.ask(USER, row)
    items = history_of(asking)
    assert items[:2] == [*clicked(world)][::-1]
    left = {one.item_id: one.outcome for one in left_out(asking, items[:2])}
    for without, kept in (clicked(world), clicked(world)[::-1]):
        agrees(left[world.items([without])[0]], world, oracle, USER, row, recent=world.items([kept]))


def test_what_an_event_took_out_of_stock_is_lost_there_and_comes_back_were_it_in_stock(world: World) -> None:
    row = gone(world)
    asking = world.ask(USER, row)
    assert asking.way.lost_at == "eligibility"
    assert "out of stock, as a live event says" in words(world, row)["eligibility"]
    oracle = copy.copy(now(world))
    oracle.eligible = sorted([*oracle.eligible, row])
    change = world.changes(asking)["rule"]
    assert change.words == "were it in stock"
    agrees(change.outcome, world, oracle, USER, row, recent=world.items(clicked(world)))


def test_what_an_event_brought_into_stock_passes(world: World) -> None:
    row = back(world)
    asking = world.ask(USER, row)
    expected = now(world).why(world.user(USER), row, recent=world.items(clicked(world)))
    lost, _ = world.found(asking)
    assert lost == expected.lost_at != "eligibility"
    assert "not in stock" not in words(world, row)["eligibility"]
    assert np.isfinite(asking.way.scored[0])
