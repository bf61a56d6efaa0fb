"""The funnel of an answer, against brute force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from operations.why.funnel import Funnel, funnel_of
from operations.why.nodes import live_as_before, nodes_of
from operations.why.ran import ran, shortened
from operations.why.request import RawRequest
from operations.why.rules import read_rules
from runtime.chain import Chain
from runtime.stream.live import events_in
from tests.operations.why.world import STRANGER, World
from tests.runtime.stream.writer import Writer
from workflows.stream.config import StreamConfig

CHAIN = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15)
NOBODY = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("funnel"), CHAIN, num_items=120, num_users=20, further=True)


def funnel(world: World, user: int, without: Any = (), blocked: Any = (), **request: Any) -> Funnel:
    """Of rows, as they are asked by raw id."""
    lists = {name: world.items(request.get(name, ())) for name in ("recent", "excluded")}
    asked = RawRequest(world.user(user), request.get("context", {}), slate_size=request.get("size"), **lists)
    rules = read_rules(world.run.folder("data") / "items.parquet", world.config)
    parsed, removed = asked.checked(world.chain), np.array(without, np.int64)
    with live_as_before(world.nodes), shortened(world.nodes, parsed, removed) as (nodes, shorter):
        return funnel_of(ran(nodes, shorter, np.array(blocked, np.int32)), rules, world.ids)


@pytest.mark.parametrize(
    ("user", "request_"),
    [
        (9, {}),
        (9, {"context": {"device": "phone", "hour": "7"}, "recent": (3, 40), "excluded": (11, 12), "size": 9}),
        (STRANGER, {"recent": (3, 40)}),
        (STRANGER, {}),
        (0, {}),
    ],
)
def test_the_slate_is_the_one_of_brute_force(world: World, user: int, request_: dict[str, Any]) -> None:
    found = funnel(world, user, **request_)
    numbers = {name: int(value) if name == "hour" else value for name, value in request_.get("context", {}).items()}
    items, scores, path = world.oracle.slate(
        world.user(user),
        numbers,
        world.items(request_.get("recent", ())),
        world.items(request_.get("excluded", ())),
        request_.get("size"),
    )
    assert found.path == path
    assert world.items([shown.row for shown in found.slate]) == items
    assert [shown.score for shown in found.slate] == pytest.approx(scores, abs=1e-4)
    assert [shown.place for shown in found.slate] == [*range(1, len(items) + 1)]


def test_each_stage_counts_what_brute_force_leaves(world: World) -> None:
    user = 9
    found, oracle = funnel(world, user, excluded=(11, 12)), world.oracle
    allowed = [row for row in oracle.eligible if row not in {11, 12, *oracle.seen[user]}]
    counts = {stage.name: stage.count for stage in found.stages}
    assert [*counts] == ["catalogue", "filters", "sources", "merge", "slate"]
    assert counts["catalogue"] == 120 and counts["filters"] == len(allowed)
    assert counts["merge"] == 20 and counts["slate"] == 4
    for shown in (*found.slate, *found.fallen):
        reason = oracle.why(world.user(user), shown.row, exclude=world.items((11, 12)))
        assert reason.rank == shown.rank and reason.by_source is not None
        assert {name: rank for name, rank in shown.sources.items() if name in ("towers", "neighbours")}.items() <= (
            reason.by_source.items()
        )
    assert sorted(place for place, _ in found.moves) == [rank for _, rank in found.moves] == [*range(1, 21)]
    assert all(shown.merged_place is not None and shown.merged_place <= 4 for shown in found.fallen)


def test_what_the_filters_dropped_is_counted_by_its_reason(world: World) -> None:
    oracle, user = world.oracle, 9
    row = oracle.eligible[30]
    held = {each.reason: each.count for each in funnel(world, user, excluded=(11, 12), blocked=(row,)).held_back}
    assert held == {
        "not in stock (data.stock = 'in_stock')": 120 - len(oracle.eligible),
        "blocked for all users": 1,
        "excluded by the request": 2,
        "seen by the user": len(oracle.seen[user]),
    }


def test_every_source_says_what_became_of_its_items(world: World) -> None:
    found = {each.name: each for each in funnel(world, 9).found}
    assert not found["popularity"].is_queried
    towers = found["towers"]
    assert towers.count == 20 and towers.num_alone <= towers.num_candidates <= 20
    assert [score for _, score in towers.first] == sorted((score for _, score in towers.first), reverse=True)
    of_nobody = {each.name: each for each in funnel(world, STRANGER).found}
    assert of_nobody["popularity"].is_queried and not of_nobody["towers"].is_queried


def test_without_an_item_of_the_history_the_slate_is_that_of_a_user_who_never_had_it(world: World) -> None:
    user = 2
    before = funnel(world, user)
    gone = before.history[0].row
    after = funnel(world, user, without=(gone,))
    assert [each.row for each in after.history] == [each.row for each in before.history][1:]
    assert after.num_seen == before.num_seen - 1
    for shown in after.slate[:2]:
        (expected,) = world.ask(user, shown.row).outcomes_without([np.array([gone])])
        assert expected.place == shown.place


@pytest.fixture
def live(world: World, tmp_path: Path) -> Iterator[World]:
    """The same world with live events: two users, each of whom clicked another item."""
    config = msgspec.structs.replace(world.config, stream=StreamConfig())
    compile_chain(world.run, config, tmp_path / "live", "serve")
    with events_in(tmp_path / "events"):
        made = object.__new__(World)
        made.__dict__ = {**world.__dict__, "folder": tmp_path / "live", "chain": Chain.load(tmp_path / "live")}
        made.nodes = nodes_of(made.chain, made.folder)
        assert made.nodes.spec.live is not None
        with Writer(tmp_path / "events", made.nodes.spec.live.stream) as writer:
            for user, row in ((9, 50), (8, 51)):
                writer.send({"user": made.user(user), "item": made.items([row])[0], "at": 10})
            yield made


def test_each_user_has_the_live_events_of_their_own_whoever_was_asked_before(live: World) -> None:
    for user, row in ((9, 50), (8, 51), (9, 50)):
        latest = funnel(live, user).history[0]
        assert (latest.row, latest.origin) == (row, "live events")
    assert funnel(live, 9, recent=(60,)).history[0].origin == "request"
    assert funnel(live, 9, without=(50,)).history[0].row != 50
    assert funnel(live, 9).history[0].row == 50
