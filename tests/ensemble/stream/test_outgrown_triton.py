"""A product whose events go to a topic and whose state is on Valkey: curl, the client and the commands, all real."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cascade_client import CascadeClient, Unavailable
from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from runtime.stream.redis import RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.spec import StreamSpec
from runtime.stream.store import StoreError
from tests.ensemble.stream.broker import Broker
from tests.ensemble.stream.worker import Process
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.runtime.stream import valkey
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.service("kafka")]
QUICK = "message.timeout.ms=60000&session.timeout.ms=4000&heartbeat.interval.ms=500"


class Product:
    """A run with both URLs in its config, its server and a worker."""

    def __init__(self, folder: Path, broker: Broker, store: valkey.Valkey) -> None:
        broker.make("clicks")
        self.broker, self.store, self.folder = broker, store, folder
        self.source_url, self.store_url = f"{broker.url('clicks')}?{QUICK}", f"{store.url}?prefix=shop"
        run, config = make_run(folder / "run", num_users=20, num_items=80)
        stream = StreamConfig(source=self.source_url, store=self.store_url)
        self.run: Run = run
        chain = msgspec.structs.replace(config.chain, layouts=("fused",))
        export(run, msgspec.structs.replace(config, chain=chain, stream=stream))
        self.repository = find_repository(run.root)
        self.spec = StreamSpec.load(self.repository / "cascade_events/1")
        self.events = run.root / "events"
        self.server = TritonServer(
            self.repository, events=self.events, store=self.store_url, source=self.source_url, events_key="geheim"
        )

    def worker(self) -> Process:
        return Process(self.source_url, self.store_url, self.spec, self.folder / "worker", batch=64)

    def curl(self, **event: Any) -> dict[str, Any]:
        """The answer of `generate`."""
        body = json.dumps({**event, "cascade-events-key": "geheim"}).encode()
        url = f"{self.server.http_url}/v2/models/cascade_events/generate"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=120) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from None

    def position(self) -> int:
        """What workers have folded."""
        store = RedisStore(read_url(self.store_url), self.spec, 5.0)
        try:
            with store.read() as reading:
                return int(reading.position)
        except StoreError:
            return -1
        finally:
            store.close()


def until(holds: Callable[[], bool], timeout_s: float = 120) -> None:
    stop = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < stop
        time.sleep(0.05)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    root = tmp_path_factory.mktemp("outgrown")
    (root / "worker").mkdir()
    with valkey.one(root / "valkey") as store:
        product = Product(root, Broker(), store)
        with product.server:
            worker = product.worker()
            try:
                yield product
            finally:
                worker.kill()


def test_curl_and_the_client_send_as_they_do_without_a_topic(product: Product) -> None:
    big = 2**53 + 1
    answer = product.curl(user_id=big, item_id=item_id(3, False), label="click")
    assert (answer["status"], answer["reason"], answer["offset"]) == (1, "", 0)
    refused = product.curl(user_id=big, item_id=item_id(3, False), label="hover")
    assert refused["status"] == -1 and "unknown label 'hover'" in refused["reason"] and refused["offset"] == -1
    clicked = [item_id(number, False) for number in range(5, 9)]
    with CascadeClient(product.server.grpc_url, timeout_s=60) as client:
        outcomes = client.send([{"user_id": big, "item_id": item} for item in clicked], key="geheim")
        assert [(outcome.status, outcome.offset) for outcome in outcomes] == [("new", 1 + n) for n in range(4)]
        until(lambda: product.position() == 5)
        # A server that has not read the state within 50 ms answers without it.
        slates: list[Any] = []
        until(lambda: slates.append(client.recommend([big])[0]) or slates[-1].stream_offset >= 0)
    slate = slates[-1]
    assert slate.path == "history" and slate.stream_offset == 5
    assert not {item_id(3, False), *clicked} & set(slate.item_ids)
    (line,) = (product.events / "rejected.ndjson").read_text().splitlines()
    assert json.loads(line)["event"]["label"] == "hover"


@pytest.mark.long
def test_a_server_starts_and_answers_while_the_topic_is_away(product: Product) -> None:
    away = "kafka://127.0.0.1:1/clicks?message.timeout.ms=300"
    with TritonServer(
        product.repository, events=product.folder / "other", store=product.store_url, source=away
    ) as server, CascadeClient(server.grpc_url, timeout_s=60, retry=None) as client:  # fmt: skip
        assert client.recommend([user_id(3, False)])[0].item_ids
        with pytest.raises(Unavailable, match=r"no broker of .* takes events now.*send it again"):
            client.send([{"user_id": 3, "item_id": item_id(3, False)}])
        assert client.recommend([user_id(3, False)])[0].item_ids
