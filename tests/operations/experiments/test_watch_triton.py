"""Three bad versions beside a good one on a real server: each is found and taken back, and no request is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from cascade_client import CascadeClient
from cascade_client.experiments import LOOK_EACH_S
from ensemble.config import ChainConfig, Config
from ensemble.config_experiments import ExperimentConfig, VariantConfig
from ensemble.export import layouts
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from operations.experiments.record import read_record
from operations.experiments.release import Servers, start, stop
from operations.experiments.watch import WORSE, watch
from operations.feedback.join import feedback
from operations.log.collect import collect, num_open
from runtime.log.folder import LogSettings
from tests.ensemble.serving.processes import eventually
from tests.ensemble.synthetic import make_run, user_id

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

NUM_USERS, ROTATE_S = 1_200, 1.0
GRAPHS = {
    "slow": "tests.operations.experiments.planted:slow",
    "emptied": "tests.operations.experiments.planted:emptied",
}
CLICKS, FEWER = 0.5, 0.4


def chain(graph: str = "ensemble.graph:chain") -> ChainConfig:
    return ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, instances=1, graph=graph, layouts=("fused",))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A published version and three runs; their logs are cut each second, as a server's are each minute."""
    root = tmp_path_factory.mktemp("watch")
    package = Path(str(runtime.__file__)).parent
    writer = root / "writer.py"
    text = (package / "log/writer.py").read_text()
    assert "ROTATE_S, SEGMENT_BYTES" in text and ", 60.0," in text
    writer.write_text(text.replace(", 60.0,", f", {ROTATE_S},", 1))
    sources = list(layouts.runtime_sources())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            layouts,
            "runtime_sources",
            lambda: ((writer if p == package / "log/writer.py" else p, to) for p, to in sources),
        )
        for name in ("good", "fewer", *GRAPHS):
            graph = GRAPHS.get(name, "ensemble.graph:chain")
            run, config = make_run(root / name, num_users=NUM_USERS, num_items=60, chain=chain(graph))
            export(run, config)
            if name == "good":
                publish(run, config, root / "published", "fused")
    yield root


class Readers:
    """Users who ask, each again and again, and click on half of what they see, or on less of what is worse."""

    def __init__(self, root: Path, url: str) -> None:
        self._root, self._url = root, url
        self._rng = np.random.default_rng(0)
        self.failures: list[str] = []
        self.seen: set[str] = set()
        self._events: list[dict[str, Any]] = []
        self._files = 0

    def ask(self, users: list[int]) -> None:
        """One request a user, from two threads; clicks are noted."""
        halves = [threading.Thread(target=self._ask, args=(users[part::2],)) for part in range(2)]
        for half in halves:
            half.start()
        for half in halves:
            half.join()

    def _ask(self, users: list[int]) -> None:
        with CascadeClient(self._url, experiments=self._root / "published/experiments.json") as client:
            for user in users:
                try:
                    slates = client.recommend([user_id(user, False)])
                except Exception as error:  # none may be lost, for whatever reason
                    self.failures.append(str(error))
                    continue
                [slate] = slates
                self.seen.add(slate.experiment or "")
                share = FEWER if slate.experiment == "planted=fewer" else CLICKS
                chosen = [item for item in slate.item_ids if self._rng.random() < share]
                at = time.time_ns() // 1_000_000
                self._events += [
                    {
                        "request_id": slates.request_id,
                        "user_id": slate.user_id,
                        "item_id": item,
                        "label": "click",
                        "at": at,
                    }
                    for item in chosen
                ]

    def collect(self) -> None:
        """What a collector and `cascade feedback` do each minute."""
        time.sleep(2.5 * ROTATE_S)
        eventually(lambda: num_open(self._root / "LOG") == 0)
        collect(self._root / "LOG", self._root / "MON")
        path = self._root / f"events-{self._files}.ndjson"
        path.write_text("".join(json.dumps(event) + "\n" for event in self._events))
        self._events, self._files = [], self._files + 1
        feedback(self._root / "MON", path, impressions="slate")


def test_what_is_worse_is_taken_back_within_two_looks(root: Path) -> None:
    runs = [VariantConfig(name=name, run=str(root / name)) for name in ("fewer", *GRAPHS)]
    wanted = ExperimentConfig(
        variants=(VariantConfig(name="control"), *runs),
        guardrails=("errors", "p95_ms", "empty_slates", "ctr"),
        stages=(1.0,),
        min_hours=0.0,
    )
    config, target = Config(chain=chain(), experiments={"planted": wanted}), root / "published"
    settings = LogSettings(root / "LOG", 1.0)
    prepare_log(settings, target)
    users = list(range(NUM_USERS))
    with TritonServer(target, request_log=settings) as server, CascadeClient(server.grpc_url) as plain:
        servers = Servers([server.grpc_url], server.admin_key)
        before = plain.recommend([user_id(user, False) for user in range(20)])
        start(config, "planted", target, "fused", servers)
        time.sleep(1.1 * LOOK_EACH_S)
        readers = Readers(root, server.grpc_url)
        readers.ask(users)
        assert readers.seen == {f"planted={name}" for name in ("control", "fewer", *GRAPHS)}
        readers.collect()
        # They go on while variants are withdrawn and their models unloaded.
        done = threading.Event()

        def go_on() -> None:
            while not done.is_set():
                readers.ask(users[:50])

        asking = threading.Thread(target=go_on)
        asking.start()

        def second() -> bool:
            done.set()
            asking.join()
            readers.ask(users)
            readers.collect()
            return True

        status = watch(root / "MON", target, "planted", servers, looks=2, advances=False, wait=second)
        done.set()
        asking.join()
        found = {side.name: side.withdrawn for side in read_record(target).find("planted").variants}
        assert status == WORSE, found
        assert "slower than the control's p95" in found["slow"] and "empty_slates" in found["emptied"]
        assert "less ctr" in found["fewer"] and not found["control"]
        readers.seen = set()
        readers.ask(users[:200])
        assert readers.seen == {"", "planted=control"} and readers.failures == []
        assert not list(target.glob("cascade_v*"))
        stop(target, "planted", servers)
        # Those who know of no experiment were never asked of another version.
        assert plain.recommend([user_id(user, False) for user in range(20)]).slates == before.slates
        assert plain.served_version == "1"
    page = (root / "MON/experiments/planted.html").read_text()
    assert "Experiment planted" in page and "less ctr" in page
