"""The benchmark of cached slates: what the chain is asked for, and figures of waits that never ended."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from benchmarks.slates.building import Built, body_of
from benchmarks.slates.measure import tables_of, targets_of


@pytest.mark.parametrize("users", [np.array([3, 2**53 + 1]), np.array([b"a", b"bc"])], ids=["integers", "texts"])
def test_the_chain_is_asked_for_the_slates_that_are_built(users: np.ndarray) -> None:
    request = service_pb2.ModelInferRequest.FromString(body_of(users, 60))
    assert [(tensor.name, list(tensor.shape)) for tensor in request.inputs] == [
        ("user_id", [2, 1]),
        ("slate_size", [2, 1]),
    ]
    assert np.frombuffer(request.raw_input_contents[1], np.int32).tolist() == [60, 60]
    if users.dtype.kind == "i":
        assert np.frombuffer(request.raw_input_contents[0], np.int64).tolist() == users.tolist()


def test_a_click_that_no_slate_ever_knew_is_missed() -> None:
    built = [Built(100.0, 200.0, 3.0, 0.1), Built(150.0, 160.0, 3.0, 0.1)]
    waits, reads = np.array([1.0, 2.0, np.inf]), np.array([[0.1, 0.3], [0.1, 0.2]])
    made, read = (table.rows[0] for table in tables_of(built, waits, reads)[1:])
    assert made[:2] == [3, 1] and made[2] == 1.5
    assert read == pytest.approx([2, 0.2, 0.298, 0.15, 0.199])
    targets = targets_of(built, waits, reads)
    assert [target.met for target in targets] == [False, False, True]
    assert targets[0].value == 150.0 and "160 a second" in targets[0].note
    msgspec.json.encode(targets)
