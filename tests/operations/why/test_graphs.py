"""Why, in graphs of the user's own: the place is that of the answer, and what a step of theirs drops is lost there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from operations.why.deep import deep_ranks
from operations.why.rules import read_rules
from operations.why.trace import lost_at, steps_of, summary_of
from tests.ensemble import graphs
from tests.operations.why.world import World

GRAPHS = ("without_ranker", "with_promotion", "with_another_ranker", "turned_slates", "without_candidates")


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_item_is_shown_where_the_answer_has_it_and_lost_somewhere_otherwise(graph: str, tmp_path: Path) -> None:
    chain = ChainConfig(
        num_candidates=30, slate_size=5, max_slate_size=20, graph=f"{graphs.__name__}:{graph}", instances=1
    )
    world = World(tmp_path, chain, num_users=10, num_items=80)
    rules = read_rules(world.run.folder("data") / "items.parquet", world.config)
    answer = world.chain.recommend({"user_id": np.array([[world.user(2)]])})
    shown = answer["item_id"][0].tolist()
    reasons = set()
    for row in range(0, 80, 2):
        asking = world.ask(2, row)
        deep = deep_ranks(asking.way)
        lost = lost_at(asking.way, deep)
        item = world.items([row])[0]
        assert asking.way.place == (shown.index(item) + 1 if item in shown else None)
        assert (lost == "") == (item in shown)
        steps = steps_of(asking, rules, lost, deep)
        assert summary_of(asking.way, lost, steps).startswith("shown: place" if item in shown else "not shown, lost at")
        assert msgspec.json.decode(msgspec.json.encode(steps))
        world.changes(asking)
        reasons.add(lost)
    if graph == "without_candidates":
        assert reasons == {"", "first_items"}
    else:
        assert {"sources", "slate", "seen"} <= reasons
