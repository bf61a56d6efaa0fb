"""Rules, routes and panels, asked of a real Prometheus that reads what a real server and a real log gave."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from cascade_client import CascadeClient
from cascade_client.errors import CascadeClientError
from ensemble.export.stage import export
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from operations import monitoring
from operations.exporter import exported
from operations.feedback.join import feedback
from operations.folder import parquet_files
from operations.log.collect import collect
from operations.monitoring.dashboards import DASHBOARDS, expressions
from operations.signals.kinds import Measured
from operations.signals.monitor import monitor_once
from operations.signals.table import save, with_states
from runtime.log.folder import LogSettings
from tests.ensemble.synthetic import make_run, user_id
from tests.ports import free_port
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.service("prometheus"), pytest.mark.timeout(180)]
FOLDER = Path(monitoring.__file__).parent
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DAY_S = 86_400
READY_S = 60.0


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_do_what_they_say(tmp_path) -> None:
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yml"), tmp_path)
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    run("promtool", "test", "rules", "rules_test.yml", cwd=tmp_path)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=CascadeErrors", "severity=page", "family=serving"], "pages"),
        (["alertname=CascadeSignal", "severity=ticket", "family=requests"], "tickets"),
    ],
)
def test_alerts_go_where_they_belong(tmp_path, labels, receiver) -> None:
    routes = str(FOLDER / "alertmanager.yml")
    run("amtool", "check-config", routes, cwd=tmp_path)
    assert (
        run("amtool", "config", "routes", "test", f"--config.file={routes}", *labels, cwd=tmp_path).strip() == receiver
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[tuple[str, float]]:
    """A Prometheus with the rules, beside the page of a monitor of a log that a served chain has filled.

    Its URL, and an instant at which the chain was served.
    """
    root = tmp_path_factory.mktemp("monitored")
    made, config = make_run(root / "run", num_users=20, num_items=60)
    # Without a folder of events the state is away.
    export(made, msgspec.structs.replace(config, stream=StreamConfig()))
    repository, settings, folder = made.folder("repo") / "fused", LogSettings(root / "log", share=1.0), root / "mon"
    prepare_log(settings, repository)
    with (
        TritonServer(repository, request_log=settings) as server,
        CascadeClient(server.grpc_url) as client,
    ):
        _ask(client, 40)
        with exported(folder, "127.0.0.1", 0, logs=[settings.folder]) as port, _prometheus(root, port) as url:
            until = time.monotonic() + READY_S
            while not all(ask(url, query) for query in ("cascade:latency:p99_5m", "cascade_processes")):
                assert time.monotonic() < until
                _ask(client, 5)
                time.sleep(0.5)
            served_at = time.time()
            server.stop()
            collect(settings.folder, folder)
            feedback(folder, _clicks(root, folder))
            # The day has ended for the monitor, and was like those of the month before it.
            rows = monitor_once(folder, time.time() + 2 * DAY_S).rows
            # Slates of a chain with live events are not asked again; those of other chains are.
            rows.append(replace(rows[0], measured=Measured("replay_mismatch", "", 0.0, 0.0, 0.0, 45, 20.0, True)))
            save(folder, with_states([replace(row, day=row.day - ago) for row in rows for ago in range(30)], {}))
            yield url, served_at


def _clicks(root: Path, folder: Path) -> Path:
    """A click on what each slate shows last."""
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in parquet_files(folder)])
    ids = np.load(root / "run/repo/fused/cascade/1/chain/ids/items.npy").tolist()
    table = table.set_column(table.column_names.index("at"), "at", table["at"].cast(pa.int64()))
    asked = table.filter(pc.and_(pc.is_valid(table["item_rows"]), pc.greater(table["num_items"], 0))).to_pylist()
    events = [
        {
            "request_id": row["request_id"],
            "position": row["position"],
            "item_id": ids[row["item_rows"][-1]],
            "timestamp": row["at"] + 1,
        }
        for row in asked
    ]
    (root / "clicks.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    return root / "clicks.ndjson"


def _ask(client: CascadeClient, number: int) -> None:
    for place in range(number):
        client.recommend([user_id(place % 20, False), 10**9 + place], consumer="web")
    with pytest.raises(CascadeClientError):
        client.recommend([1], slate_size=10**6)


@contextmanager
def _prometheus(root: Path, monitor_port: int) -> Iterator[str]:
    """A Prometheus that reads the page of a monitor each half second, for the time of a with block; its URL."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{monitor_port}"]
    rules = (FOLDER / "rules.yml").read_text().replace("interval: 15s", "interval: 500ms")
    (root / "rules.yml").write_text(rules)
    (root / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    with (root / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--storage.tsdb.path={root / 'data'}"], cwd=root, stdout=log, stderr=log)
    try:
        until, url = time.monotonic() + READY_S, f"http://127.0.0.1:{port}"
        while not _is_ready(url):
            assert process.poll() is None and time.monotonic() < until, (root / "prometheus.log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(120)


def _is_ready(url: str) -> bool:
    try:
        with OPENER.open(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def ask(url: str, expression: str, at: float | None = None) -> list[Any]:
    """What Prometheus answers for now, or for an instant."""
    query = urllib.parse.urlencode({"query": expression} | ({} if at is None else {"time": at}))
    with OPENER.open(f"{url}/api/v1/query?{query}", timeout=30) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    found: list[Any] = answer["data"]["result"]
    return found


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_shows_something(prometheus, name) -> None:
    (url, served_at), until, empty = prometheus, time.monotonic() + READY_S, [""]
    while empty and time.monotonic() < until:
        asked = [(title, query.replace("$signal", "unknown_users")) for title, query in expressions(name)]
        empty = [f"{title}: {query}" for title, query in asked if not ask(url, query) + ask(url, query, served_at)]
        time.sleep(0.2)
    assert not empty
