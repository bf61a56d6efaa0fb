"""Events as a caller means them: the tensors that they become, and the requests that they go in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from cascade_client import RequestRefused, WrongServer
from cascade_client.events import MOST_OF_ONE_USER, encode_events, in_batches, outcomes_of

INPUTS = {
    "user_id": "INT64",
    "item_id": "BYTES",
    "at": "BYTES",
    "label": "BYTES",
    "value": "FP32",
    "event_id": "BYTES",
    "kind": "BYTES",
    "extra": "BYTES",
    "in_stock": "BOOL",
    "hour": "INT64",
}
EVENT = {"user_id": 17, "item_id": "a", "event_id": "e"}


def test_what_one_event_says_and_another_does_not_is_filled_up() -> None:
    events: list[dict[str, Any]] = [
        {**EVENT, "value": 2, "hour": None, "label": "buy"},
        {"kind": "item", "item_id": "b", "in_stock": True, "event_id": "f"},
    ]
    tensors = {tensor.name: tensor for tensor in encode_events(events, INPUTS).tensors}
    found = {name: tensor.array[:, 0].tolist() for name, tensor in tensors.items()}
    assert found == {
        "user_id": [17, -(2**63)],
        "item_id": [b"a", b"b"],
        "label": [b"buy", b""],
        "value": [2.0, 1.0],
        "event_id": [b"e", b"f"],
        "kind": [b"", b"item"],
        "in_stock": [False, True],
    }
    assert {name: tensor.array.dtype for name, tensor in tensors.items()}["in_stock"] == np.bool_


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ("2026-03-29T01:40Z", b"2026-03-29T01:40Z"),
        (datetime(2026, 3, 29, 2, 40, 0, 5, timezone(timedelta(hours=1))), b"2026-03-29T02:40:00.000005+01:00"),
        (1774748400, b"1774748400"),
        (np.int64(1774748400000000000), b"1774748400000000000"),
        (1774748400.5, b"1774748400.5"),
        (1.7747484e18, b"1774748400000000000"),
    ],
)
def test_instants_go_as_the_server_reads_them(at: Any, sent: bytes) -> None:
    tensors = encode_events([{**EVENT, "at": at}], INPUTS).tensors
    assert next(tensor for tensor in tensors if tensor.name == "at").array.tolist() == [[sent]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"user_id": "17"}, "user_id must be integers"),
        ({"user_id": 2**63}, "user_id must fit INT64"),
        ({"item_id": 5}, "item_id must be strings"),
        ({"at": datetime(2026, 3, 29)}, "at must have a zone"),
        ({"at": float("nan")}, "at must be a text, a datetime with a zone, or a number"),
        ({"at": True}, "at must be a text"),
        ({"in_stock": 0}, "in_stock must be true or false, got 0"),
        ({"value": 1e300}, "value must fit FP32"),
        ({"lable": "click"}, "unknown field 'lable' of an event; the server knows user_id, item_id"),
        ({"extra": {"a": float("nan")}}, "extra must be what JSON can hold"),
    ],
)
def test_what_does_not_fit_costs_no_other_event(wrong: dict[str, Any], said: str) -> None:
    encoded = encode_events([EVENT, {**EVENT, **wrong}, EVENT], INPUTS)
    assert encoded.places == [0, 2]
    assert encoded.refused[1].startswith(said)
    answer = {
        "status": np.array([[1], [0]], np.int32),
        "reason": np.array([[b""], [b""]], object),
        "offset": np.array([[7], [8]]),
    }
    outcomes = outcomes_of(encoded, answer)
    assert [(outcome.status, outcome.offset) for outcome in outcomes] == [("new", 7), ("refused", -1), ("duplicate", 8)]
    assert outcomes[1].reason.startswith(said)


def test_events_without_an_id_get_one_each_and_go_in_order() -> None:
    events = [{"user_id": number, "item_id": "a"} for number in range(10)]
    batches = list(in_batches(events, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [event["user_id"] for batch in batches for event in batch] == list(range(10))
    assert len({event["event_id"] for batch in batches for event in batch}) == 10
    assert list(in_batches([EVENT], 4)) == [[EVENT]]


def test_a_request_holds_no_more_of_one_user_than_a_server_remembers() -> None:
    events = [{"user_id": 1, "item_id": "a"}] * (2 * MOST_OF_ONE_USER + 1)
    assert [len(batch) for batch in in_batches(events, 4096)] == [MOST_OF_ONE_USER, MOST_OF_ONE_USER, 1]


@pytest.mark.parametrize("events", [EVENT, "events", [17], [EVENT, None]])
def test_what_is_no_list_of_events_is_refused(events: Any) -> None:
    with pytest.raises(RequestRefused, match=r"must be a (list of mappings|mapping like)"):
        list(in_batches(events, 512))


def test_another_server_s_answer_is_none() -> None:
    encoded = encode_events([EVENT], INPUTS)
    with pytest.raises(WrongServer, match="cannot be read"):
        outcomes_of(encoded, {"item_id": np.zeros((1, 5))})
