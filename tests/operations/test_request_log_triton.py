"""A real server with `--log`: both layouts and both protocols log the same sample, and every answer is given again."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.serving.request_log import prepare_log
from ensemble.serving.stubs import children
from ensemble.serving.triton import TritonServer
from operations.folder import parquet_files
from operations.log.collect import collect
from operations.replay.replay import replay
from runtime.log.folder import LogSettings
from runtime.log.sampling import key_of, limit_of
from tests.operations.repository import publish_golden

pytestmark = [pytest.mark.triton, pytest.mark.slow]

SHARE, NUM_ASKED = 0.5, 60


def ask(url, first, **parameters):
    """Ask for some slates; the answers by request id."""
    from cascade_client import CascadeClient, RequestRefused

    rng, found = np.random.default_rng(first), {}
    with CascadeClient(url) as client:
        for number in range(first, first + NUM_ASKED):
            users = [f"üser-{row:05d}" for row in rng.integers(0, 15, rng.integers(1, 5))]
            more = {"recent_item_ids": [[f"item-{row:05d}" for row in rng.integers(0, 300, 3)]] * len(users)}
            if number % 2:
                more |= {
                    "context": {"device": ["phone"] * len(users), "hour": [7] * len(users)},
                    "slate_size": int(rng.integers(1, 20)),
                }
            slates = client.recommend(users, request_id=f"request-{number}", consumer="web", **more)
            assert slates.request_id == f"request-{number}"
            found[slates.request_id] = [slate.item_ids for slate in slates]
        with pytest.raises(RequestRefused):
            client.recommend(["somebody"], slate_size=999, request_id=f"refused-{first}")
    return found


@pytest.fixture(scope="module", params=["fused", "ensemble"])
def served(request, tmp_path_factory):
    """A layout whose server was asked over both protocols, then lost a process, then was stopped."""
    root = tmp_path_factory.mktemp(request.param)
    publish_golden(root / "published", 3, request.param, "gathered")
    settings = LogSettings(root / "LOG", SHARE, ("web",))
    prepare_log(settings, root / "published")
    with TritonServer(root / "published", request_log=settings) as server:
        answers = ask(server.grpc_url, 0) | ask(server.http_url, NUM_ASKED)
        # What was answered this long ago is written, whatever comes.
        time.sleep(1)
        for pid in children(server.triton_pid):
            os.kill(pid, signal.SIGKILL)
    num_rows = collect(root / "LOG", root / "MON")
    return root, answers, num_rows


def rows_of(mon):
    return pa.concat_tables(pq.ParquetFile(path).read().unify_dictionaries() for path in parquet_files(mon)).to_pylist()


def test_the_sample_follows_from_the_ids_and_a_killed_process_lost_none_of_it(served):
    root, answers, _ = served
    logged = {row["request_id"] for row in rows_of(root / "MON") if row["reason"] == "hash" and row["error"] is None}
    assert logged == {name for name in answers if key_of(name) < limit_of(SHARE)}


def test_rows_hold_what_was_answered(served):
    root, answers, num_rows = served
    rows = rows_of(root / "MON")
    assert len(rows) == num_rows
    ids = np.load(next((root / "published").glob("*/*/chain/ids/items.npy")))
    for row in rows:
        if row["error"] is None:
            shown = [ids[item].decode() for item in row["item_rows"]]
            assert shown == answers[row["request_id"]][row["position"]]
            assert (row["consumer"], row["model_version"], row["attempt"]) == ("web", 3, 1)
            assert row["service_us"] > 0
    assert sorted(row["request_id"] for row in rows if row["error"]) == ["refused-0", f"refused-{NUM_ASKED}"]


def test_every_answer_is_given_again(served):
    root, *_ = served
    found = replay(root / "MON", last=1000)
    assert found.num_requests >= NUM_ASKED / 2
    assert (found.differing, found.rounded) == ({}, set())


def test_no_raw_id_of_a_user_is_in_any_file(served):
    root, *_ = served
    files = [path for name in ("LOG", "MON") for path in (root / name).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if "üser".encode() in path.read_bytes()]
