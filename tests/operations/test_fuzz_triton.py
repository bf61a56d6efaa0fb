"""A real server under requests of every wrong kind: no crash, a sentence for each refusal, and a log that adds up."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.serving.backoff import Backoff
from ensemble.serving.guard import guard
from ensemble.serving.metrics import Counters
from ensemble.serving.request_log import prepare_log
from ensemble.serving.stubs import children
from ensemble.serving.triton import TritonServer
from operations.folder import STATUS, parquet_files, read_json
from operations.log.collect import collect
from operations.log.verify import verify
from operations.replay.replay import replay
from operations.usage.counts import read_usage
from runtime.errors import ServerFault
from runtime.log.folder import LogSettings
from runtime.log.usage import FAILED, OK, REFUSED
from tests.operations.fuzz_load import Came, ask_for, send_all
from tests.operations.repository import publish_golden

pytestmark = pytest.mark.triton

VERSION = 3
# Of Triton's own refusals some are 500 and INTERNAL: bodies that are not what the protocol says.
STATUSES = {"200", "400", "404", "500", "501", "OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "UNIMPLEMENTED"}
# Counters of requests that were lost on the way to MON.
LOST = ("failed", "dropped_queue", "dropped_disk", "half", "damaged", "torn", "clock_jumps")


class Served(NamedTuple):
    """A server that has ended, and what it was asked."""

    root: Path
    came: list[Came]
    counts: dict[str, int]
    rows: list[dict[str, Any]]


def serve(root: Path, layout: str, number: int) -> Served:
    publish_golden(root / "published", VERSION, layout, "gathered")
    settings = LogSettings(root / "LOG", 1.0)
    prepare_log(settings, root / "published")
    with TritonServer(root / "published", request_log=settings) as server:
        before = sorted(children(server.triton_pid))
        came = send_all(server, number)
        assert sorted(children(server.triton_pid)) == before
    num_records = verify(root / "LOG")
    num_rows = collect(root / "LOG", root / "MON")
    counts = read_json(root / "MON" / STATUS, {})["counts"]
    # In the layout "ensemble" each request has two halves.
    assert num_records == counts["written"] and num_rows == verify(root / "MON")
    tables = [pq.ParquetFile(path).read().unify_dictionaries() for path in parquet_files(root / "MON")]
    return Served(root, came, counts, pa.concat_tables(tables).to_pylist())


def check_answers(served: Served) -> None:
    refused = [came for came in served.came if not came.is_answered]
    assert [came for came in refused if came.is_sound] == []
    assert {came.status for came in served.came} <= STATUSES
    assert [came for came in refused if not came.sentence or str(ServerFault()) in came.sentence] == []
    assert 0 < len(refused) < len(served.came)


def check_counters(served: Served) -> None:
    usage: Counter[str] = Counter()
    for (_, outcome), number in read_usage([served.root / "LOG"]).requests.items():
        usage[outcome] += number
    counts = served.counts
    assert [counts.get(name, 0) for name in LOST] == [0] * len(LOST)
    assert usage[FAILED] == 0 and usage[OK] == sum(came.is_answered for came in served.came)
    assert counts["requests"] == usage[OK] + usage[REFUSED]
    assert counts["requests"] == counts["sampled"] + counts.get("without_id", 0)
    assert counts["sampled"] == counts["records"]


def check_rows(served: Served) -> None:
    """Each named request is logged with what its sender got; the others never reached the model."""
    ids = np.load(next((served.root / "published").glob("*/*/chain/ids/items.npy")))
    by_id: dict[str, list[Came]] = {}
    for came in served.came:
        by_id.setdefault(came.id, []).append(came)
    logged = {row["request_id"]: row for row in served.rows if row["position"] == 0}
    once = {name: many[0] for name, many in by_id.items() if len(many) == 1}
    assert {name for name, came in once.items() if came.is_answered} <= set(logged)
    for name in set(once) & set(logged):
        row, came = logged[name], once[name]
        assert (row["error"] or "") == ("" if came.is_answered else row["error"]) and (
            row["error"] or ""
        ) in came.sentence
        if came.item_ids is not None:
            shown = [ids[item].decode() for item in row["item_rows"]]
            assert [item for item in came.item_ids if item] == shown


def check_replay(served: Served, last: int) -> None:
    found = replay(served.root / "MON", last=last)
    answered = {(row["request_id"], row["attempt"]) for row in served.rows if row["error"] is None}
    assert found.num_requests == min(last, len(answered)) and not found.left_out
    assert (found.differing, found.rounded) == ({}, set())


def check(served: Served, replayed: int = 10**6) -> None:
    check_answers(served)
    check_counters(served)
    check_rows(served)
    check_replay(served, replayed)


def test_a_slice(tmp_path: Path) -> None:
    check(serve(tmp_path, "fused", 200), 50)


@pytest.mark.long
def test_a_request_that_ends_triton_ends_it_for_seconds_and_loses_no_record(tmp_path: Path) -> None:
    """Triton 2.51 makes room for what the shape of JSON data says, 4 TiB here, and ends."""
    publish_golden(tmp_path / "published", VERSION, "fused", "gathered")
    settings = LogSettings(tmp_path / "LOG", 1.0)
    prepare_log(settings, tmp_path / "published")
    with TritonServer(tmp_path / "published", request_log=settings) as server:
        counters, stop = Counters(), Event()
        thread = Thread(target=guard, args=(server, counters, stop, Backoff()))
        thread.start()
        try:
            before = send_all(server, 40, seed=1)
            # What was answered this long ago is written, whatever comes.
            time.sleep(1)
            ending = ask_for(server, [1, 2**40])
            until = time.monotonic() + 120
            while not (counters.server_restarts and counters.ready) and time.monotonic() < until:
                time.sleep(0.1)
            after = send_all(server, 40, seed=2)
        finally:
            stop.set()
            thread.join()
    assert counters.server_restarts == 1 and not ending.is_answered
    assert all(came.is_answered for came in (*before, *after) if came.is_sound)
    collect(tmp_path / "LOG", tmp_path / "MON")
    tables = [pq.ParquetFile(path).read(columns=["request_id", "error"]) for path in parquet_files(tmp_path / "MON")]
    logged = {row["request_id"] for table in tables for row in table.to_pylist() if row["error"] is None}
    named = {came.id for came in (*before, *after) if came.is_answered} - {"", "?"}
    assert named <= logged


@pytest.mark.long
def test_the_steps_as_models(tmp_path: Path) -> None:
    check(serve(tmp_path, "ensemble", 1_000))


@pytest.mark.long
def test_ten_thousand(tmp_path: Path) -> None:
    check(serve(tmp_path, "fused", 10_000))
