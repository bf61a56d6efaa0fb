"""Read your writes through a real Triton: both layouts, every instance, before and after a reload."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade_client import CascadeClient
from ensemble.config import Config
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.reload import reload_model
from runtime.chain import Chain
from runtime.spec import ChainSpec
from runtime.stream.folder import FOLDER_VARIABLE
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.runtime.stream.writer import Writer, stock
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.triton, pytest.mark.slow]

CLIENTS, ROUNDS = 8, 40


class Served:
    """A server on a published repository, the process that writes its state, and the chain here without a state."""

    def __init__(self, root: Path, run: Run, config: Config, layout: str, server: Any, writer: Writer) -> None:
        self.run, self.config, self.layout, self.server, self.writer = run, config, layout, server, writer
        self.target = root / layout
        self.plain = Chain.load(root / "plain")
        self._lock = threading.Lock()

    def client(self) -> CascadeClient:
        return CascadeClient(self.server.grpc_url)

    def send(self, *rows: dict) -> int:
        with self._lock:
            return self.writer.send(*rows)

    def told(self, user: int, recent: list[int]) -> list[int]:
        named = {"recent_item_ids": np.array([recent])} if recent else {}
        answer = self.plain.recommend({"user_id": np.array([[user]]), **named})
        return answer["item_id"][0, : int(answer["num_items"][0, 0])].tolist()


@pytest.fixture(scope="module", params=["fused", "ensemble"])
def served(request, tmp_path_factory) -> Iterator[Served]:
    from ensemble.serving.triton import TritonServer

    root = tmp_path_factory.mktemp("live")
    run, plain = make_run(root / "run", num_users=20, num_items=80)
    chain = msgspec.structs.replace(plain.chain, instances=3, layouts=(request.param,))
    config = msgspec.structs.replace(plain, chain=chain, stream=StreamConfig())
    compile_chain(run, plain, root / "plain", "serve")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(root / "events"))
        export(run, config)
        publish(run, config, root / request.param, request.param)
        spec = ChainSpec.load(next(root.joinpath(request.param).rglob("chain.json")).parent)
        assert spec.live is not None
        with TritonServer(root / request.param) as server, Writer(root / "events", spec.live.stream) as writer:
            yield Served(root, run, config, request.param, server, writer)


def test_before_the_first_event_the_slates_are_the_exports_and_say_so(served):
    with served.client() as client:
        (slate,) = client.recommend([user_id(3, False)])
    assert slate.item_ids == served.told(user_id(3, False), [])
    assert (slate.stream_offset, slate.state_age_ms) == (-1, -1)


def test_an_acknowledged_click_is_in_the_next_slate_whoever_answers(served):
    def read_own_writes(number: int) -> None:
        """One user's clicks, one after the other; half of the users are unknown to the export."""
        user = user_id(3 + number, False) if number % 2 else 900_000 + number
        rng, clicked = np.random.default_rng(number), []
        with served.client() as client:
            for at in range(1, ROUNDS + 1):
                clicked.append(item_id(int(rng.integers(0, 80)), False))
                position = served.send({"user": user, "item": clicked[-1], "at": at})
                (slate,) = client.recommend([user], min_offset=position)
                assert slate.stream_offset >= position
                assert slate.state_age_ms >= 0
                assert slate.path == ("known_user" if number % 2 else "history")
                assert not set(slate.item_ids) & set(clicked)
                if len(clicked) <= 6:  # all of them are in the history
                    assert slate.item_ids == served.told(user, clicked)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(read_own_writes, number) for number in range(CLIENTS)]:
            done.result()


def test_an_item_out_of_stock_is_in_no_slate_and_comes_back(served):
    stranger, known = 800_000, user_id(9, False)
    with served.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        for user in (stranger, known):
            first = client.recommend([user])[0].item_ids[0]
            for value in (0.0, 1.0) * 3:
                served.send(stock(first, value, at=served.writer.position + 1))
                slates = list(pool.map(lambda _: client.recommend([user])[0].item_ids, range(3 * CLIENTS)))  # noqa: B023
                assert [first in slate for slate in slates] == [value > 0] * len(slates)


def test_a_version_that_is_loaded_later_knows_the_same(served):
    user, sold_out = 700_000, item_id(int(np.load(next(served.target.rglob("popular.npy")))[0]), False)
    served.send({"user": user, "item": item_id(4, False), "at": 1}, stock(sold_out, 0.0, at=10**6))
    publish(served.run, served.config, served.target, served.layout)
    assert reload_model(served.server.grpc_url, served.server.admin_key)[0] == "2"
    with served.client() as client:
        slate, popular = client.recommend([user, user + 1])
    assert slate.path == "history" and item_id(4, False) not in slate.item_ids
    assert popular.path == "popularity" and sold_out not in popular.item_ids
    assert slate.stream_offset == popular.stream_offset == served.writer.position
