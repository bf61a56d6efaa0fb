"""The gate in a server decides as a batch does: same advantages, same coins."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ensemble.publish_send_gate import spec_of
from models.send_gate.gate import SendGate, learn
from models.send_gate.log import read_push_log
from operations.notify.decide import decide
from operations.notify.pace import Allowance
from runtime.errors import BadRequest
from runtime.send_gate.spec import OUTPUTS, GateSpec
from tests.models.send_gate.made import write_log
from tests.models.send_gate.test_send_gate import SMALL
from workflows.core.errors import DataError


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> SendGate:
    return learn(read_push_log(write_log(tmp_path_factory.mktemp("log"))), SMALL)


def test_a_request_is_answered_as_a_batch_is(gate, tmp_path):
    spec_of(gate, 0.3).save(tmp_path)
    spec = GateSpec.load(tmp_path)
    rng = np.random.default_rng(0)
    features = {"liking": rng.normal(size=500), "weekday": rng.integers(7, size=500).astype(float)}
    ids = np.array([f"pûsh-{row}" for row in range(500)])
    request = {name: values[:, None] for name, values in features.items()}
    request["decision_id"] = np.array([one.encode() for one in ids], object)[:, None]
    request["send_price"] = np.full((500, 1), 0.1)
    answer = spec.answer(request)
    assert [(name, values.dtype, values.shape) for name, values in answer.items()] == [
        (tensor.name, tensor.numpy_dtype, (500, 1)) for tensor in OUTPUTS
    ]
    advantage = gate.advantage(features)
    np.testing.assert_array_equal(answer["advantage"][:, 0], advantage)
    wanted = decide(ids, advantage, np.full(500, ""), 0.1, Allowance(0, 0), 0.3)
    np.testing.assert_array_equal(answer["send"][:, 0], wanted.sent)
    np.testing.assert_array_equal(answer["propensity"][:, 0], wanted.propensity)
    assert [reason.decode() for reason in answer["reason"][:, 0]] == wanted.reason.tolist()
    assert set(wanted.reason) == {"worth", "price", "not_worth", "explored"}
    one = spec.answer({name: values[7:8] for name, values in request.items()})
    for name, values in answer.items():
        if values.dtype == np.float64:  # a matrix product of one row rounds another way
            np.testing.assert_allclose(one[name], values[7:8], rtol=1e-12)
        else:
            np.testing.assert_array_equal(one[name], values[7:8])


def test_without_a_name_nothing_is_left_to_a_coin(gate):
    request = {"liking": np.array([[-2.0], [2.0]]), "weekday": np.ones((2, 1))}
    answer = spec_of(gate, 0.9).answer(request)
    assert answer["propensity"][:, 0].tolist() == [0.0, 1.0]
    assert answer["send"][:, 0].tolist() == [False, True]
    assert 0 < answer["open"][0, 0] < answer["open"][1, 0] < 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"liking": None}, "lack the column 'liking'"),
        ({"liking": np.array([[np.nan]])}, "'liking' of the decisions has values that are no finite numbers"),
        ({"send_price": np.array([[np.inf]])}, "send_price has values that are no finite numbers"),
        ({"decision_id": np.array([[b"\xff"]], object)}, "decision_id has a value that is no UTF-8"),
    ],
)
def test_bad_requests_are_told_why(gate, change, expected):
    request = {"liking": np.array([[0.0]]), "weekday": np.ones((1, 1)), **change}
    with pytest.raises(BadRequest, match=expected):
        spec_of(gate, 0.1).answer({name: values for name, values in request.items() if values is not None})


def test_a_feature_may_not_take_another_name(gate):
    encoding = msgspec.structs.replace(gate.encoding, names=["liking", "send_price"])
    with pytest.raises(DataError, match="'send_price', which is the name of another input or output of cascade_gate"):
        spec_of(msgspec.structs.replace(gate, encoding=encoding), 0.1)
