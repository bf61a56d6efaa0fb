"""The requests of the benchmark of live events: as many new events as were asked for, none of them twice."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from benchmarks.stream.folding import drawn_events, measure_folding
from benchmarks.stream.hot import heated, measure_hot
from benchmarks.stream.ingest import Setting, requests
from runtime.stream.log.reader import next_offset
from runtime.stream.spec import StreamSpec

USERS = {int: np.array([3, 2**53 + 1]), bytes: np.array([b"a", b"bc"])}


@pytest.mark.parametrize("kind", [int, bytes])
def test_each_request_holds_new_events(kind: type) -> None:
    ids = {"user": USERS[kind], "item": np.array([7, 8, 9])}
    made = requests(Setting(clients=4, batch=30, seconds=0.01), ids, ("click", "buy"), np.random.default_rng(0))
    assert len(made) == 50
    event_ids: set[bytes] = set()
    for body in made:
        request = service_pb2.ModelInferRequest.FromString(body)
        assert request.model_name == "cascade_events"
        columns = dict(zip([tensor.name for tensor in request.inputs], request.raw_input_contents, strict=True))
        assert all(list(tensor.shape) == [30, 1] for tensor in request.inputs)
        event_ids |= set(deserialize_bytes_tensor(columns["event_id"]).tolist())
        users = columns["user_id"]
        drawn = np.frombuffer(users, np.int64) if kind is int else deserialize_bytes_tensor(users)
        assert set(drawn.tolist()) == set(USERS[kind].tolist())
    assert len(event_ids) == 1500


def test_a_fold_is_measured_on_every_event(tmp_path):
    spec = StreamSpec("INT64", "BYTES", ("click", "buy"), history_length=5)
    ids = {"user": np.arange(50), "item": np.array([b"a", b"bc"])}
    found = measure_folding(spec, ids, tmp_path / "events", 9_000)
    assert next_offset(tmp_path / "events") == 9_000
    assert all(value > 0 for value in found)
    assert 20 < found.log_bytes < 60


@pytest.mark.parametrize("kind", [int, bytes])
def test_a_hot_item_and_user_have_their_share_of_the_events(tmp_path, kind: type) -> None:
    ids = {"user": USERS[kind], "item": np.arange(1, 1001)}
    drawn = drawn_events(ids, ("click",), 4096, 0, 4096, np.random.default_rng(3))
    found = heated(drawn, ids)
    assert 0.5 <= (found.item == 1).mean() < 0.51
    assert (found.user[::4] == USERS[kind].tolist()[0]).all()
    kept = np.arange(4096) % 4 % 2 == 1
    assert (found.item[kept] == drawn.item[kept]).all() and (found.user[kept] == drawn.user[kept]).all()
    dtype = "BYTES" if kind is bytes else "INT64"
    hot = measure_hot(StreamSpec(dtype, "INT64", ("click",)), ids, tmp_path, 5_000)
    assert hot.share == hot.hot_per_cpu_s / hot.even_per_cpu_s > 0
    assert {next_offset(path) for path in tmp_path.iterdir()} == {5_000}
