"""Events into a real server: answered one by one, logged before they are answered, and there after every kill."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_client import AsyncCascadeClient, CannotReach, CascadeClient, RequestRefused
from ensemble.export.stage import export
from ensemble.serving.repository import is_of_another_log
from ensemble.stream.housekeeping import forget_user
from ensemble.stream.replay import replay
from ensemble.stream.send import send_events
from ensemble.stream.status import print_status
from runtime.stream.events import FORGET, Events
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.keys import user_keys
from runtime.stream.log.reader import log_id, read_log
from runtime.stream.record import unpack, user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.store import USER, LmdbStore
from tests.ensemble.serving.processes import processes_of, ready_urls, serving
from tests.ensemble.synthetic import item_id, make_run
from workflows.core.errors import DataError, ServingError
from workflows.stream.config import StreamConfig
from workflows.stream.history import read_events

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(600)]
KEY = "a key of the shop"
BIG = 2**53 + 1
ITEMS = [item_id(row, False) for row in range(10)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, config = make_run(tmp_path_factory.mktemp("live") / "run", num_users=20, num_items=60)
    export(made, msgspec.structs.replace(config, stream=StreamConfig()))
    return made.root


@pytest.fixture(scope="module")
def process(run: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASCADE_EVENTS_KEY", KEY)
        with serving(run) as process:
            yield process


@pytest.fixture(scope="module")
def urls(process: Any) -> tuple[str, str, str]:
    return ready_urls(process)


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, urls: tuple[str, str, str]) -> Iterator[CascadeClient]:
    with CascadeClient(urls[request.param == "grpc"], timeout_s=30) as client:
        yield client


def generate(url: str, event: dict[str, Any], key: str | None = KEY) -> tuple[int, dict[str, Any]]:
    """What curl would get: the status and the answer."""
    body = json.dumps({**event, **({"cascade-events-key": key} if key else {})}).encode()
    try:
        with urllib.request.urlopen(f"{url}/v2/models/cascade_events/generate", body, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def history(run: Path, user: int) -> list[int]:
    """The items of a user's record, the latest first."""
    spec = StreamSpec.load(run / "repo/fused/cascade_events/1")
    store = LmdbStore(run / "events/state" / spec.state_version, writable=False)
    with store.read() as reading:
        (record,) = unpack(reading.get([USER + user_keys(np.array([user]))[0]]), user_record(spec))
    store.close()
    return list(record["slots"]["item"][: record["num_history"]])


def test_events_of_one_request_count_in_the_order_of_their_times(client: CascadeClient, run: Path) -> None:
    user = 50 + (client.address.protocol == "grpc")
    at = {ITEMS[0]: "2026-11-01T10:00:10Z", ITEMS[1]: "2026-11-01T11:00:05+01:00", ITEMS[2]: 1793527200000}
    sent = client.send([{"user_id": user, "item_id": item, "at": when} for item, when in at.items()], key=KEY)
    assert [outcome.status for outcome in sent] == ["new"] * 3
    assert [b.offset - a.offset for a, b in pairwise(sent)] == [1, 1]
    assert history(run, user) == ITEMS[:3]


def test_a_bad_event_costs_no_other_and_is_kept_with_the_reason(client: CascadeClient, run: Path) -> None:
    user = 60 + (client.address.protocol == "grpc")
    good, bad = {"user_id": user, "item_id": ITEMS[0]}, {"user_id": user, "item_id": ITEMS[1]}
    sent = client.send(
        [
            {**bad, "label": "clik"},
            good,
            {**bad, "at": "2026-03-29T02:30"},
            {"user_id": "17", "item_id": ITEMS[1]},
            {**bad, "colour": "red"},
            {"user_id": user},
            {"kind": "item", "item_id": ITEMS[1]},
        ],
        key=KEY,
    )
    assert [outcome.status for outcome in sent] == ["refused", "new", *["refused"] * 5]
    reasons = [outcome.reason for outcome in sent]
    assert reasons[0] == "unknown label 'clik'; the labels are click, impression"
    assert reasons[2].startswith("at '2026-03-29T02:30' has no zone; add Z for UTC")
    assert reasons[3] == "user_id must be integers on this server, got '17' (str)"
    assert reasons[4].startswith("unknown field 'colour' of an event; the server knows user_id, item_id, at, label")
    assert reasons[5] == "item_id is missing; an event of the kind 'interaction' needs it"
    assert reasons[6] == "an event of the kind 'item' must say in_stock, true or false"
    assert history(run, user) == [ITEMS[0]]
    kept = [json.loads(line) for line in (run / "events/rejected.ndjson").read_text().splitlines()]
    assert {"reason": reasons[0], "user_id": user} in [
        {"reason": line["reason"], "user_id": line["event"].get("user_id")} for line in kept
    ]


def test_an_event_sent_twice_counts_once(client: CascadeClient, run: Path) -> None:
    user = 70 + (client.address.protocol == "grpc")
    event = {"user_id": user, "item_id": ITEMS[3], "event_id": "the one"}
    first = client.send([event, event], key=KEY)
    again = client.send([event, {**event, "event_id": "another"}], key=KEY)
    assert [outcome.status for outcome in first + again] == ["new", "duplicate", "duplicate", "new"]
    assert history(run, user) == [ITEMS[3], ITEMS[3]]


def test_ids_are_exact_and_curl_is_enough(urls: tuple[str, str, str], run: Path) -> None:
    status, answer = generate(urls[0], {"user_id": BIG, "item_id": BIG, "label": "click"})
    assert (status, answer["status"], answer["reason"]) == (200, 1, "")
    with CascadeClient(urls[1]) as client:
        client.send([{"user_id": BIG, "item_id": ITEMS[0]}, {"user_id": BIG - 1, "item_id": ITEMS[1]}], key=KEY)
    assert history(run, BIG) == [ITEMS[0], BIG]
    assert history(run, BIG - 1) == [ITEMS[1]]
    assert generate(urls[0], {"kind": "item", "item_id": ITEMS[9], "in_stock": False})[1]["status"] == 1
    _, answer = generate(urls[0], {"item_id": ITEMS[9], "in_stock": False})
    assert answer["reason"].endswith("; to say in_stock of an item, give kind = 'item'")
    status, answer = generate(urls[0], {"user_id": 1, "item": 5})
    assert (status, answer["error"][:34]) == (400, "unknown field 'item'; the fields a")
    status, answer = generate(urls[0], {"user_id": 1, "item_id": 5, "id": "mine"})
    assert (status, answer["error"][:34]) == (400, "unknown field 'id'; the fields are")


def test_a_fast_clock_is_set_to_the_arrival_and_counted(urls: tuple[str, str, str], run: Path) -> None:
    before = time.time_ns()
    with CascadeClient(urls[1]) as client:
        (sent,) = client.send([{"user_id": 85, "item_id": ITEMS[0], "at": time.time() + 365 * 24 * 3600}], key=KEY)
    (frame,) = [frame for frame in read_log(run / "events", sent.offset) if frame.first_offset == sent.offset]
    assert before <= frame.events.at[0] == frame.received_at <= time.time_ns()
    with urllib.request.urlopen(urls[2], timeout=30) as response:
        page = response.read().decode()
    assert "cascade_events_ahead_total 1\n" in page
    assert re.search(r'cascade_events_total{status="new"} [1-9]', page)


@pytest.mark.parametrize("key", [None, "guessed"])
def test_who_does_not_know_the_key_is_refused(client: CascadeClient, urls: tuple[str, str, str], key: str) -> None:
    event = {"user_id": 80, "item_id": ITEMS[0]}
    with pytest.raises(RequestRefused, match="from those who know its key alone"):
        client.send([event], key=key)
    assert generate(urls[0], event, key)[0] == 400


def test_a_gateway_may_give_the_key_as_a_header(urls: tuple[str, str, str]) -> None:
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": "INT64", "data": [value]}
        for name, value in (("user_id", 81), ("item_id", ITEMS[0]))
    ]
    for headers, expected in (({"Cascade-Events-Key": KEY}, 200), ({}, 400)):
        request = urllib.request.Request(
            f"{urls[0]}/v2/models/cascade_events/infer", json.dumps({"inputs": tensors}).encode(), headers
        )
        with suppress(urllib.error.HTTPError):
            assert urllib.request.urlopen(request, timeout=30).status == expected
            continue
        assert expected == 400


async def send_async(url: str, events: list[dict[str, Any]]) -> list[str]:
    async with AsyncCascadeClient(url, timeout_s=30) as client:
        return [outcome.status for outcome in await client.send(events, key=KEY, batch=2)]


@pytest.mark.parametrize("protocol", [0, 1])
def test_asyncio_sends_too(urls: tuple[str, str, str], protocol: int) -> None:
    events = [{"user_id": 90 + protocol, "item_id": item} for item in ITEMS[:5]]
    assert asyncio.run(send_async(urls[protocol], [*events, {"user_id": 90}])) == [*["new"] * 5, "refused"]


def test_a_file_is_sent_row_by_row_and_the_state_is_what_the_log_makes(
    urls: tuple[str, str, str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "events.csv"
    good = [f"{110 + row % 3},{ITEMS[row % 10]},click,{1793527200 + row},red" for row in range(300)]
    table.write_text("\n".join(["user_id,item_id,label,at,colour", *good, "x,7,,,", "1,7", "111,7,klick,,", ""]))
    assert send_events(table, urls[1], 64, KEY) == 1
    said = capsys.readouterr().err
    assert "also has colour, which no event has; left out" in said
    assert "line 302 was refused: user_id must be integers on this server, got 'x' (str)" in said
    assert "line 303 was refused: it has 2 columns, its head has 5" in said
    assert "line 304 was refused: unknown label 'klick'" in said
    assert "303 events: 300 new, 0 known already, 3 refused" in said
    assert not (tmp_path / "events.csv.sent").exists()
    replay(run, check=True)
    assert "records of the live state are those of the log, to the byte" in capsys.readouterr().err
    print_status(run)
    assert re.search(r"a server writes it *│ yes", capsys.readouterr().out)
    print_status(run, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["is_written"] and [state["num_events"] for state in found["states"]] == [found["num_events"]]


def test_a_file_goes_on_where_it_was_stopped(
    urls: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "events.ndjson"
    lines.write_text("".join(f'{{"user_id": {120 + row % 40}, "item_id": {ITEMS[0]}}}\n' for row in range(1000)))

    def lose_an_answer(self: CascadeClient, events: Any, **named: Any) -> Any:
        answer = send(self, events, **named)
        countdown.append(len(countdown))
        if len(countdown) == 3:
            raise CannotReach("the line was cut behind the third request")
        return answer

    send, countdown = CascadeClient.send, list[int]()
    monkeypatch.setattr(CascadeClient, "send", lose_an_answer)
    with pytest.raises(ServingError, match="200 rows are sent, and the same command goes on there"):
        send_events(lines, urls[1], 100, KEY)
    whole = lines.read_text()
    lines.write_text(whole + "\n")
    with pytest.raises(DataError, match="has changed since its first 200 rows were sent"):
        send_events(lines, urls[1], 100, KEY)
    lines.write_text(whole)
    assert send_events(lines, urls[1], 100, KEY) == 0
    assert "1000 events: 900 new, 100 known already, 0 refused" in capsys.readouterr().err


def test_parquet_keeps_its_instants_and_large_ids(urls: tuple[str, str, str], run: Path, tmp_path: Path) -> None:
    at = pa.array([1793527200000001, None, None], pa.timestamp("us", "Asia/Kolkata"))
    pq.write_table(
        pa.table({"user_id": [BIG + 1, 3, None], "item_id": [ITEMS[0]] * 3, "at": at}), tmp_path / "e.parquet"
    )
    pq.write_table(pa.table({"user_id": [3], "item_id": [7], "at": [datetime(2026, 3, 1)]}), tmp_path / "naive.parquet")
    assert send_events(tmp_path / "e.parquet", urls[1], 512, KEY) == 1
    assert send_events(tmp_path / "naive.parquet", urls[1], 512, KEY) == 1
    events = [frame.events for frame in read_log(run / "events") if (BIG + 1) in frame.events.user.tolist()]
    assert events[0].at[0] == 1793527200000001 * 1000


def test_after_a_kill_of_its_process_everything_is_there(process: Any, urls: tuple[str, str, str], run: Path) -> None:
    event = {"user_id": 100, "item_id": ITEMS[5], "event_id": "before"}
    health = [sys.executable, "-I", "-S", Path(__file__).parents[3] / "docker/health.py", urls[0]]
    kept = (run / "events/rejected.ndjson").read_text()
    assert subprocess.run(health, check=False).returncode == 0
    assert (run / "events/rejected.ndjson").read_text() == kept
    with CascadeClient(urls[1], timeout_s=200) as client:
        assert client.send([event], key=KEY)[0].status == "new"
        # The command stands still meanwhile, which would have it replaced.
        process.send_signal(signal.SIGSTOP)
        try:
            os.kill(processes_of(run, EVENTS_MODEL)["model"], signal.SIGKILL)
            assert subprocess.run(health, check=False, capture_output=True).returncode == 1
        finally:
            process.send_signal(signal.SIGCONT)
        # The client tries again until the process is back.
        sent = client.send([event, {**event, "event_id": "behind", "item_id": ITEMS[6]}], key=KEY)
    assert [outcome.status for outcome in sent] == ["duplicate", "new"]
    assert history(run, 100) == [ITEMS[6], ITEMS[5]]
    logged = [frame.events for frame in read_log(run / "events")]
    ids = [event_id for events in logged for event_id in events.event_id.tolist()]
    assert (ids.count(b"before"), ids.count(b"behind")) == (2, 1)


def test_a_second_server_on_the_folder_is_told_so_in_a_sentence(process: Any, urls: Any, run: Path) -> None:
    with serving(run / "repo" / "ensemble", "--events", str(run / "events")) as second:
        assert second.wait(200) == 1
        assert second.stderr is not None
        said = second.stderr.read().splitlines()[-1]
    assert "model 'cascade_events': " in said
    assert "is being written by process" in said
    assert "At:" not in said


def test_a_user_is_forgotten_in_every_file_while_the_server_goes_on(urls: tuple[str, str, str], run: Path) -> None:
    with CascadeClient(urls[1], timeout_s=30) as client:
        client.send([{"user_id": 700, "item_id": item} for item in ITEMS[:3]], key=KEY)
        assert history(run, 700) == ITEMS[2::-1]
        forget_user(run, "700", urls[1], KEY)
        assert history(run, 700) == []
        left = [batch.events.take(batch.events.user == 700) for batch in read_events(run / "events")]
        assert Events.join(left).kind.tolist() == [FORGET]
        sent = client.send([{"user_id": 700, "item_id": ITEMS[7]}], key=KEY)
    assert [outcome.status for outcome in sent] == ["new"]
    assert history(run, 700) == [ITEMS[7]]
    replay(run, check=True)


def test_a_chain_of_another_log_is_told_from_one_of_this(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "fused"
    shutil.copytree(run / "repo/fused", copy)
    (chain,) = (copy / "cascade").glob("1/**/chain.json")
    for known, is_another in (("", False), (log_id(run / "events"), False), ("another", True)):
        record = json.loads(chain.read_text())
        record["live"]["known_log"] = known
        chain.write_text(json.dumps(record))
        assert is_of_another_log(copy, run / "events") == is_another
