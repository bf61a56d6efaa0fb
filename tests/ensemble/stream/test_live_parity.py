"""Stream features served = what the tables say: chain, plan, fused, ensemble and brute force on a backfilled state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cascade_client import CascadeClient
from ensemble.config import ChainConfig, Config
from ensemble.evaluation.setting import open_setting
from ensemble.evaluation.sources import _live_before_test
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from ensemble.stream.backfill import backfill
from runtime.chain import Chain
from runtime.stream.live import at_instant, events_in, now_ns, without_live_state
from tests.ensemble.stream.live_oracle import LiveOracle
from tests.ensemble.synthetic import make_run, user_id
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

CASES = {
    "factored": {},
    "plain": {"factored": False},
    "gathered text": {"gathered": True, "text_ids": True, "further": True},
}
NUM_USERS, NUM_ITEMS, STRANGER, DAY = 40, 120, 5_000, 86_400 * 10**9


class World:
    """A run with stream features, exported, and a state that knows the events of its tables."""

    def __init__(self, root: Path, **of_run: bool) -> None:
        chain = ChainConfig(num_candidates=40, slate_size=10, max_slate_size=40, instances=2)
        self.text_ids = of_run.get("text_ids", False)
        run, config = make_run(
            root / "run", num_users=NUM_USERS, num_items=NUM_ITEMS, chain=chain, stream=STREAM_FEATURES, **of_run
        )
        self.run: Run = run
        self.config: Config = msgspec.structs.replace(config, stream=StreamConfig(popular_by="bought_1d"))
        self.compared = export(self.run, self.config).info["num_users_compared"]
        backfill(run.root, root / "events", None)
        compile_chain(self.run, self.config, root / "chain", "serve")
        self.events = root / "events"
        with events_in(self.events):
            self.chain = Chain.load(root / "chain")
        with without_live_state():
            self.away = Chain.load(root / "chain")
        self.oracle = LiveOracle(run.root, chain)

    def ask(self, chain: Chain, *rows: int) -> list[tuple[list, list[float], str]]:
        users = np.array([[user_id(row, self.text_ids)] for row in rows], object if self.text_ids else np.int64)
        answer = chain.recommend({"user_id": users})
        return [
            (items[:num].tolist(), scores[:num].tolist(), path.decode())
            for items, scores, (num,), (path,) in zip(
                *(answer[name] for name in ("item_id", "score", "num_items", "path")), strict=True
            )
        ]

    def agrees(self, chain: Chain, *rows: int) -> None:
        """The chain's slates are those of brute force."""
        for row, (items, scores, path) in zip(rows, self.ask(chain, *rows), strict=True):
            wanted, right, named = self.oracle.slate(user_id(row, self.text_ids))
            assert path == named
            assert scores == pytest.approx(right, abs=2e-4)
            if items != wanted:  # places may change where scores are equal but for rounding
                assert sorted(items) == sorted(wanted) or np.min(np.abs(np.diff(right))) < 1e-5


@pytest.fixture(scope="module", params=CASES)
def world(request, tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("parity"), **CASES[request.param])


def test_slates_on_a_live_state_are_those_of_brute_force_at_any_instant(world):
    assert world.compared == 16
    last = world.oracle.t
    for later in (10**9, DAY // 2, DAY + DAY // 12, 3 * DAY, 40 * DAY):
        world.oracle.t = last + later
        with at_instant(world.oracle.t):
            world.agrees(world.chain, 0, 1, 2, 3, 11, NUM_USERS - 2, NUM_USERS - 1)
    world.oracle.t = last


def test_slates_without_the_state_are_those_of_hidden_features(world):
    world.oracle.is_away = True
    world.agrees(world.away, 0, 3, 11, NUM_USERS - 1, STRANGER)
    world.oracle.is_away = False


def test_a_slate_does_not_depend_on_who_else_is_in_the_batch(world):
    rows = [*range(NUM_USERS), STRANGER]
    with at_instant(world.oracle.t + 10**9):
        together = world.ask(world.chain, *rows)
        assert together == [world.ask(world.chain, row)[0] for row in rows]
        assert world.ask(world.chain, *rows[::-1]) == together[::-1]
        assert len({tuple(items) for items, _, _ in together}) > 10


def test_of_whom_nothing_is_known_gets_what_the_windows_count_most(world):
    oracle = world.oracle
    column = next(c for c in oracle.columns if c.name == "bought_1d")
    for later in (10**9, DAY // 2, 3 * DAY):
        oracle.t += later
        with at_instant(oracle.t):
            ((items, _, path),) = world.ask(world.chain, STRANGER)
        counts = {row: oracle.value("item", column.feature, row) for row in oracle.eligible}
        most = max(oracle.popularity)
        order = sorted(counts, key=lambda row: (-counts[row], -oracle.popularity[row] / most, row))
        assert (path, items) == ("popularity", [oracle.items[row] for row in order[:10]])
        oracle.t -= later


def test_an_evaluation_asks_at_the_beginning_of_the_test_split(world):
    setting = open_setting(world.run, world.config)
    with _live_before_test(world.run, world.events.parent / "chain", setting):
        assert now_ns() == setting.queries.at.min()


SERVED = [("plain", "ensemble"), ("gathered text", "fused"), ("gathered text", "ensemble")]


@pytest.fixture(scope="module", params=SERVED, ids=" ".join)
def served(request, tmp_path_factory) -> Iterator[tuple[World, object]]:
    from ensemble.serving.triton import TritonServer

    name, layout = request.param
    made = World(tmp_path_factory.mktemp("served"), **CASES[name])
    with TritonServer(find_repository(made.run.root, layout), events=made.events) as server:
        yield made, server


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_gives_the_same_slates_and_takes_in_the_next_event(served):
    world, server = served
    rows = [*range(NUM_USERS), STRANGER]
    users = [user_id(row, world.text_ids) for row in rows]
    users = [user.decode() if isinstance(user, bytes) else user for user in users]
    for url in (server.grpc_url, server.http_url):
        with CascadeClient(url) as client:
            here, slates = world.ask(world.chain, *rows), client.recommend(users)
            assert [_plain(items) for items, _, _ in here] == [slate.item_ids for slate in slates]
            assert [scores for _, scores, _ in here] == [pytest.approx(slate.scores, abs=1e-7) for slate in slates]
            item = slates[5].item_ids[0]
            (outcome,) = client.send([{"user_id": users[5], "item_id": item}])
            assert outcome.status == "new"
            assert item not in client.recommend([users[5]])[0].item_ids
    with at_instant(time.time_ns()):
        assert world.ask(world.chain, 5)[0][0] != here[5][0]


def _plain(items: list) -> list:
    return [item.decode() if isinstance(item, bytes) else item for item in items]
