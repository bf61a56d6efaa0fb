"""Stream features served = what the tables say: chain, plan, fused, ensemble and brute force on a backfilled state."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade_client import CascadeClient
from ensemble.config import ChainConfig, Config
from ensemble.evaluation.setting import open_setting
from ensemble.evaluation.sources import _live_before_test
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.serving.commands import recommend_command
from ensemble.serving.repository import find_repository
from ensemble.stream.audit import audit
from ensemble.stream.backfill import backfill
from runtime.chain import Chain
from runtime.stream.events import FORGET
from runtime.stream.live import at_instant, events_in, now_ns, without_live_state
from runtime.stream.log.log import EventLog
from runtime.stream.served import sample_files
from tests.ensemble.stream.live_oracle import LiveOracle
from tests.ensemble.synthetic import make_run, user_id
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from tests.runtime.stream.writer import events_of
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.stream.config import StreamConfig
from workflows.stream.forget import forget_users

CASES = {
    "factored": {},
    "plain": {"factored": False},
    "gathered text": {"gathered": True, "text_ids": True, "further": True},
}
NUM_USERS, NUM_ITEMS, STRANGER, DAY = 40, 120, 5_000, 86_400 * 10**9


class World:
    """A run with stream features, exported, and a state that knows the events of its tables."""

    def __init__(self, root: Path, *, audit_share: float = 0.0, **of_run: bool) -> None:
        chain = ChainConfig(num_candidates=40, slate_size=10, max_slate_size=40, instances=2)
        self.text_ids = of_run.get("text_ids", False)
        run, config = make_run(
            root / "run", num_users=NUM_USERS, num_items=NUM_ITEMS, chain=chain, stream=STREAM_FEATURES, **of_run
        )
        self.run: Run = run
        stream = StreamConfig(popular_by="bought_1d", audit_share=audit_share)
        self.config: Config = msgspec.structs.replace(config, stream=stream)
        self.compared = export(self.run, self.config).info["num_users_compared"]
        backfill(run.root, root / "events", None)
        compile_chain(self.run, self.config, root / "chain", "serve")
        self.events = root / "events"
        with events_in(self.events):
            self.chain = Chain.load(root / "chain")
        with without_live_state():
            self.away = Chain.load(root / "chain")
        self.oracle = LiveOracle(run.root, chain)
        self._copies = (root / f"copy-{number}" for number in itertools.count())

    def copy(self) -> Path:
        """The folder of live events as it is; that itself is open in this process."""
        return Path(shutil.copytree(self.events, next(self._copies)))

    def ask(self, chain: Chain, *rows: int) -> list[tuple[list, list[float], str]]:
        users = np.array([[user_id(row, self.text_ids)] for row in rows], object if self.text_ids else np.int64)
        answer = chain.recommend({"user_id": users})
        return [
            (items[:num].tolist(), scores[:num].tolist(), path.decode())
            for items, scores, (num,), (path,) in zip(
                *(answer[name] for name in ("item_id", "score", "num_items", "path")), strict=True
            )
        ]

    def at_one_instant(self, elsewhere: Callable[[], Any], *rows: int) -> tuple[list[Any], Any]:
        """What the chain here gives and what is given elsewhere, with no edge of a window between them."""
        here = self.ask(self.chain, *rows)
        while True:
            before, found = here, elsewhere()
            here = self.ask(self.chain, *rows)
            if here == before:
                return here, found

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


def test_what_requests_were_given_is_counted_from_the_log(tmp_path, capsys):
    world = World(tmp_path, audit_share=1.0, text_ids=True)
    last = world.oracle.t
    for later in (1, DAY // 3, 2 * DAY + 5, 9 * DAY):
        with at_instant(last + later):
            world.ask(world.chain, *range(NUM_USERS), STRANGER)
    events = world.copy()
    audit(events)
    said = capsys.readouterr().err
    # A line a user, and a line a user with candidates that windows are read for.
    found = re.search(r"all ([0-9,]+) values that ([0-9,]+) served requests were given .* 0 differ", said)
    num_values, num_requests = (int(number.replace(",", "")) for number in found.groups())
    assert num_requests >= 4 * (NUM_USERS + 1 + NUM_USERS)
    assert num_values > 15 * num_requests
    path = sample_files(events)[1]
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    assert first["user"] == "üser-00000"
    assert {"eager_7d", "clicks_1d", "idle"} < first["values"].keys()
    assert ("eager_7d", None) in [(n, v) for line in map(json.loads, lines) for n, v in line["values"].items()]
    for name, wrong in (("values", {**first["values"], "clicks_7d": 99.0}), ("history", [1, 2])):
        path.write_text("\n".join([json.dumps({**first, name: wrong}), *lines[1:]]) + "\n")
        with pytest.raises(
            ArtefactError, match=r"stream audit: a request at offset \d+ was given (99\.0|\[1, 2\]) for"
        ):
            audit(events)
    # Of another log, another state, or later than the state: left out, and said so, as is half a line of a full disk.
    others = [{"log": "other"}, {"state": "other"}, {"offset": 10**9}]
    path.write_text("".join(json.dumps({**first, **other}) + "\n" for other in others) + '{"features": "4\n')
    audit(events)
    assert "4 served requests are of another state or later, or cannot be read; left out" in capsys.readouterr().err


def test_a_user_who_is_forgotten_leaves_the_served_requests_too(tmp_path):
    world = World(tmp_path, audit_share=1.0)
    world.ask(world.chain, *range(NUM_USERS))
    names = {json.loads(line).get("user") for line in sample_files(world.events)[1].read_text().splitlines()}
    assert {1004, 1006} < names
    forget = EventLog(world.events, sync=False, segment_bytes=1 << 26)
    forget.append(events_of([{"kind": FORGET, "user": 1004}], is_text=False), time.time_ns())
    forget.seal()
    end = forget.next_offset
    forget.close()
    forget_users(world.events, 0, end)
    kept = {json.loads(line).get("user") for line in sample_files(world.events)[1].read_text().splitlines()}
    assert names - kept == {1004}


def test_without_a_share_nothing_is_kept(world):
    assert not (world.events / "served").exists()


SERVED = [("plain", "ensemble"), ("gathered text", "fused"), ("gathered text", "ensemble")]


@pytest.fixture(scope="module", params=SERVED, ids=" ".join)
def served(request, tmp_path_factory) -> Iterator[tuple[World, object]]:
    from ensemble.serving.triton import TritonServer

    name, layout = request.param
    made = World(tmp_path_factory.mktemp("served"), audit_share=1.0, **CASES[name])
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
            here, slates = world.at_one_instant(lambda client=client: client.recommend(users), *rows)
            assert [_plain(items) for items, _, _ in here] == [slate.item_ids for slate in slates]
            assert [scores for _, scores, _ in here] == [pytest.approx(slate.scores, abs=1e-7) for slate in slates]
            item = slates[5].item_ids[0]
            (outcome,) = client.send([{"user_id": users[5], "item_id": item}])
            assert outcome.status == "new"
            assert item not in client.recommend([users[5]])[0].item_ids
    with at_instant(time.time_ns()):
        assert world.ask(world.chain, 5)[0][0] != here[5][0]


@pytest.mark.triton
@pytest.mark.slow
def test_the_metrics_page_counts_what_became_of_events(served):
    world, server = served
    (user,), (item,) = _plain([user_id(7, world.text_ids)]), _plain([world.oracle.items[3]])
    click = {"user_id": user, "item_id": item}
    before = counted(server)
    with CascadeClient(server.grpc_url) as client:
        old, ahead = time.time() - 400 * 86_400, time.time() + 400 * 86_400
        client.send([click, {**click, "at": old}, {**click, "at": ahead}, {**click, "label": "none"}])
        client.send([{**click, "event_id": "one"}, {**click, "event_id": "one"}])
        client.send([{"kind": "item", "item_id": item, "in_stock": True, "at": old}])
    after = counted(server)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        'cascade_events_total{status="new"}': 5,
        'cascade_events_total{status="duplicate"}': 1,
        'cascade_events_total{status="refused"}': 1,
        "cascade_events_ahead_total": 1,
        "cascade_events_too_late_total": 1,
    }


@pytest.mark.triton
@pytest.mark.slow
def test_the_command_reads_what_was_just_written(served, capsys):
    world, server = served
    (user,), (item,) = _plain([user_id(11, world.text_ids)]), _plain([world.oracle.items[5]])
    with CascadeClient(server.grpc_url) as client:
        (sent,) = client.send([{"user_id": user, "item_id": item}])
    recommend_command(server.grpc_url, [str(user)], min_offset=sent.offset + 1, as_json=True)
    (slate,) = json.loads(capsys.readouterr().out)
    assert slate["stream_offset"] > sent.offset and item not in slate["item_ids"]
    recommend_command(server.grpc_url, [str(user)], min_offset=sent.offset + 1)
    assert f"with live events below offset {sent.offset + 1}" in capsys.readouterr().out


def counted(server: object) -> Counter[str]:
    """Cascade's counters on Triton's page of metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return Counter({line.split()[0]: int(float(line.split()[1])) for line in lines if line.startswith("cascade_")})


@pytest.mark.triton
@pytest.mark.slow
def test_what_a_server_gave_while_events_came_is_counted_from_the_log(served, capsys):
    world, server = served
    users = [_plain([user_id(row, world.text_ids)])[0] for row in range(NUM_USERS)]
    items = _plain([world.oracle.items[row] for row in range(NUM_ITEMS)])
    random = np.random.default_rng(3)
    with CascadeClient(server.grpc_url) as client:
        for _ in range(60):
            pair = {"user_id": users[random.integers(5)], "item_id": items[random.integers(9)]}
            client.send([pair, {**pair, "label": "impression"}])
            client.recommend(users[:8])
    audit(world.copy())
    found = re.search(r"values that ([0-9,]+) served requests were given .* 0 differ", capsys.readouterr().err)
    assert int(found.group(1).replace(",", "")) >= 60 * 8 * 2
    offsets = {json.loads(line)["offset"] for line in sample_files(world.events)[1].read_text().splitlines()}
    assert len(offsets) > 50


def _plain(items: list) -> list:
    return [item.decode() if isinstance(item, bytes) else item for item in items]
