"""The benchmark of the request log: ratios of rounds, and targets of figures that are known."""

from __future__ import annotations

import msgspec
import numpy as np

from benchmarks.request_log.added import Added
from benchmarks.request_log.measure import middle, tables_of, targets_of
from benchmarks.request_log.served import Replays, Rounds, bodies_of, named
from benchmarks.serving.questions import Questions


def test_an_interval_holds_the_median_of_the_rounds() -> None:
    assert middle([1.0, 1.0, 1.0]) == (1.0, 1.0, 1.0)
    value, low, high = middle([0.9, 1.0, 1.1, 1.2, 0.8])
    assert value == 1.0 and 0.8 <= low < 1.0 < high <= 1.2


def test_targets_are_judged_by_the_figures() -> None:
    added = Added(2_000.0, (3.0, 5.0, 50.0))
    rounds = [
        Rounds(None, [0.99, 1.0, 1.04], [1.0] * 3),
        Rounds(0.05, [1.0, 1.01, 1.02], [1.0] * 3),
        Rounds(1.0, [1.1] * 3, [1.2] * 3),
    ]
    replays = [Replays("fused", 100, 100, 6_000.0, 1.0, 200.0), Replays("ensemble", 100, 99, 6_000.0, 2.5, 200.0)]
    targets = targets_of(added, rounds, replays)
    assert [target.met for target in targets] == [True, True, True, False, False, True, True]
    assert targets[0].value == 0.0025 and targets[3].value == 0.995
    assert targets[2].value == 1.01 and targets[2].note.startswith("of two servers without a log it is 1.000 (0.990 to")
    msgspec.json.encode([targets, tables_of(added, rounds, replays)])


def test_the_id_of_a_request_follows_what_is_serialised() -> None:
    from tritonclient.grpc import service_pb2

    columns = {"user_id": np.array([3, 4]), "device": np.array([b"a", b"b"])}
    questions = Questions(columns, {"user_id": "INT64", "device": "BYTES"}, np.arange(2))
    first, second = (service_pb2.ModelInferRequest.FromString(body) for body in named(bodies_of(questions, 2), "warm"))
    assert (first.id, second.id) == ("warm-0", "warm-1")
    assert [tensor.name for tensor in second.inputs] == ["user_id", "device"]
    assert np.frombuffer(second.raw_input_contents[0], np.int64).tolist() == [4]
    assert second.raw_input_contents[1] == b"\x01\0\0\0b"
    assert first.model_name == "cascade"
