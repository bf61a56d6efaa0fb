"""Both clients against a server whose answers follow from arithmetic, over both protocols."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from cascade_client import CannotReach, RequestRefused, WrongServer
from tests.client.in_loop import KINDS, make_client, url_of

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, toy_server: Any) -> Iterator[Any]:
    with make_client(request.param, url_of(request.param, toy_server)) as client:
        yield client


@pytest.fixture(params=KINDS)
def string_client(request: pytest.FixtureRequest, string_server: Any) -> Iterator[Any]:
    with make_client(request.param, url_of(request.param, string_server)) as client:
        yield client


def test_ragged_lists_context_and_size_reach_each_user(client: Any) -> None:
    slates = client.recommend(
        [1, -2, 3],
        recent_item_ids=[[7, 9], [], [8]],
        exclude_item_ids=[[1000, 1002], [-2000], []],
        context={"hour": [0, 4, 8]},
        slate_size=4,
    )
    assert [slate.item_ids for slate in slates] == [
        [7, 9, 1001, 1003],
        [-1999, -1998, -1997, -1996],
        [8, 3000, 3001, 3002],
    ]
    assert [slate.path for slate in slates] == ["known_user", "popularity", "known_user"]
    assert [slate.scores for slate in slates] == [
        pytest.approx([hour + 1, hour + 1 / 2, hour + 1 / 3, hour + 1 / 4]) for hour in (0, 4, 8)
    ]
    assert [slate.user_id for slate in slates] == [1, -2, 3]
    assert [slate.num_items for slate in slates] == [4, 4, 4]


def test_context_of_every_sort_and_none_for_some_users(client: Any) -> None:
    hours = [True, np.int16(3), 5.0, Decimal(7), np.bool_(False)]
    slates = client.recommend([1, 2, 3, 4, 5], context={"hour": hours, "device": [None, "1", "", None, "2"]})
    assert [slate.scores[0] for slate in slates] == [2.0, 4.0, 6.0, 8.0, 1.0]
    [known, unknown] = client.recommend([1, 2], context={"hour": [3, None]})
    assert (known.scores[0], unknown.scores[0]) == (4.0, float(-(2**63)) + 1)


def test_a_slate_is_cut_to_the_items_there_are(client: Any) -> None:
    everything_but_two = [5000 + rank for rank in range(48)]
    [slate] = client.recommend([5], exclude_item_ids=[everything_but_two], slate_size=10)
    assert (slate.item_ids, len(slate.scores)) == ([5048, 5049], 2)


def test_string_ids_go_and_come_as_strings(string_client: Any) -> None:
    slates = string_client.recommend(["12", "3"], recent_item_ids=[["77"], ["5", "6"]], slate_size=3)
    assert [slate.item_ids for slate in slates] == [["77", "12000", "12001"], ["5", "6", "3000"]]
    assert json.loads(slates.to_json())[1] == {
        "user_id": "3",
        "item_ids": ["5", "6", "3000"],
        "scores": [1.0, 0.5, pytest.approx(1 / 3)],
        "path": "known_user",
    }


def test_ids_given_as_bytes_or_numpy_come_as_strings_and_integers(client: Any, string_client: Any) -> None:
    texts = string_client.recommend([b"12", np.str_("3")], exclude_item_ids=[[b"12000"], []], slate_size=1)
    assert [(slate.user_id, slate.item_ids) for slate in texts] == [("12", ["12001"]), ("3", ["3000"])]
    numbers = client.recommend(np.array([12, 3], np.int16), recent_item_ids=np.array([[7], [8]]), slate_size=np.int8(1))
    assert json.loads(numbers.to_json())[1] == {
        "user_id": 3,
        "item_ids": [8],
        "scores": [1.0],
        "path": "known_user",
    }


def test_the_model_states_its_inputs(client: Any) -> None:
    assert client.inputs["user_id"] == "INT64"
    assert client.context_features == {"hour": "INT64", "device": "BYTES"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user_ids": []}, "at least one user id"),
        ({"user_ids": "17"}, "must be a list"),
        ({"user_ids": 17}, "must be a list"),
        ({"user_ids": iter([17])}, "must be a list"),
        ({"user_ids": ["ann"]}, "user_id must be integers on this server, got 'ann' (str)"),
        ({"user_ids": [True]}, "user_id must be integers on this server, got True (bool)"),
        ({"user_ids": [2**63]}, "must fit INT64"),
        ({"user_ids": [1], "context": {"device": [3]}}, "device must be strings on this server, got 3 (int)"),
        (
            {"user_ids": [1], "context": {"weather": ["wet"]}},
            "no input 'weather'; its context features are: hour, device",
        ),
        ({"user_ids": [1], "context": {"user_id": [2]}}, "no input 'user_id'; its context features are: hour, device"),
        ({"user_ids": [1], "context": {"hour": 3}}, "hour must have one value for each of the 1 user ids, got 3"),
        ({"user_ids": [1], "context": {"hour": [2.5]}}, "hour must be integers on this server, got 2.5 (float)"),
        ({"user_ids": [None]}, "user_id must be integers on this server, got None (NoneType)"),
        ({"user_ids": [1, 2], "context": {"hour": [3]}}, "hour must have one value for each of the 2 user ids"),
        ({"user_ids": [1], "recent_item_ids": [7]}, "recent_item_ids must be one list of ids a user, got 7"),
        ({"user_ids": [1], "exclude_item_ids": [["x"]]}, "exclude_item_ids must be integers on this server, got 'x'"),
        ({"user_ids": [1], "slate_size": 2.5}, "slate_size must be integers on this server, got 2.5 (float)"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(client: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        client.recommend(**arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_integers_for_string_ids_are_refused(string_client: Any) -> None:
    with pytest.raises(RequestRefused, match=r"user_id must be strings on this server, got 17 \(int\)"):
        string_client.recommend([17])  # type: ignore[list-item]


def test_a_refusal_of_the_model_is_its_sentence_alone(client: Any) -> None:
    with pytest.raises(RequestRefused) as caught:
        client.recommend([1], slate_size=51)
    assert str(caught.value) == "slate_size must be between 1 and 50, got 51"
    with pytest.raises(RequestRefused, match="batch-size must be <= 64"):
        client.recommend(list(range(65)))
    assert client.recommend([1])[0].item_ids[0] == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_protocol_for_a_port_is_said(kind: str, toy_server: Any) -> None:
    other = toy_server.http_url if kind.endswith("grpc") else toy_server.grpc_url
    with (
        make_client(kind, other.partition("://")[2], timeout_s=60, retry=None) as client,
        pytest.raises(CannotReach, match="gRPC is port 8001 and HTTP port 8000") as caught,
    ):
        client.recommend([1])
    assert caught.value.__cause__ is not None
    assert str(caught.value).isprintable()
    assert "\\x" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_not_served_is_said(kind: str, toy_server: Any) -> None:
    other = make_client(kind, url_of(kind, toy_server), model="other/model 1")
    with other as client, pytest.raises(WrongServer, match="serves no model 'other/model 1'"):
        client.recommend([1])


def test_plain_json_over_http_works_without_the_client(toy_server: Any) -> None:
    inputs = [
        {"name": "user_id", "shape": [2, 1], "datatype": "INT64", "data": [17, 42]},
        {"name": "slate_size", "shape": [2, 1], "datatype": "INT32", "data": [2, 2]},
    ]
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(f"{toy_server.http_url}/v2/models/cascade/infer", data=body, timeout=60) as response:
        outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    assert outputs["item_id"] == [17000, 17001, 42000, 42001]
    assert outputs["path"] == ["known_user", "known_user"]
