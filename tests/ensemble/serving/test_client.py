"""CascadeClient against a server whose answers follow from arithmetic, over both protocols."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from ensemble.serving.client import CascadeClient
from ensemble.serving.commands import recommend_command
from ensemble.serving.triton import TritonServer
from workflows.core.errors import RequestError, ServingError

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120)]


@pytest.fixture(params=["grpc", "http"])
def client(request: pytest.FixtureRequest, toy_server: TritonServer) -> Iterator[CascadeClient]:
    with CascadeClient(getattr(toy_server, f"{request.param}_url"), timeout_s=10) as client:
        yield client


@pytest.fixture(params=["grpc", "http"])
def string_client(request: pytest.FixtureRequest, string_server: TritonServer) -> Iterator[CascadeClient]:
    with CascadeClient(getattr(string_server, f"{request.param}_url"), timeout_s=10) as client:
        yield client


def test_ragged_lists_context_and_size_reach_each_user(client: CascadeClient) -> None:
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


def test_context_of_every_sort_and_none_for_some_users(client: CascadeClient) -> None:
    hours = [True, np.int16(3), 5.0, Decimal(7), np.bool_(False)]
    slates = client.recommend([1, 2, 3, 4, 5], context={"hour": hours, "device": [None, "1", "", None, "2"]})
    assert [slate.scores[0] for slate in slates] == [2.0, 4.0, 6.0, 8.0, 1.0]
    [known, unknown] = client.recommend([1, 2], context={"hour": [3, None]})
    assert (known.scores[0], unknown.scores[0]) == (4.0, float(-(2**63)) + 1)


def test_a_slate_is_cut_to_the_items_there_are(client: CascadeClient) -> None:
    everything_but_two = [5000 + rank for rank in range(48)]
    [slate] = client.recommend([5], exclude_item_ids=[everything_but_two], slate_size=10)
    assert (slate.item_ids, len(slate.scores)) == ([5048, 5049], 2)


def test_string_ids_go_and_come_as_strings(string_client: CascadeClient) -> None:
    slates = string_client.recommend(["12", "3"], recent_item_ids=[["77"], ["5", "6"]], slate_size=3)
    assert [slate.item_ids for slate in slates] == [["77", "12000", "12001"], ["5", "6", "3000"]]
    assert json.loads(slates.to_json())[1] == {
        "user_id": "3",
        "item_ids": ["5", "6", "3000"],
        "scores": [1.0, 0.5, pytest.approx(1 / 3)],
        "path": "known_user",
    }


def test_the_model_states_its_inputs(client: CascadeClient) -> None:
    assert client.inputs["user_id"] == "INT64"
    assert client.context_features == {"hour": "INT64", "device": "BYTES"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user_ids": []}, "at least one user id"),
        ({"user_ids": "17"}, "must be a list"),
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
def test_what_does_not_fit_is_refused_before_it_is_sent(
    client: CascadeClient, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        client.recommend(**arguments)
    assert said in str(caught.value)


def test_integers_for_string_ids_are_refused(string_client: CascadeClient) -> None:
    with pytest.raises(RequestError, match=r"user_id must be strings on this server, got 17 \(int\)"):
        string_client.recommend([17])  # type: ignore[list-item]


def test_a_refusal_of_the_model_is_its_sentence_alone(client: CascadeClient) -> None:
    with pytest.raises(RequestError) as caught:
        client.recommend([1], slate_size=51)
    assert str(caught.value) == "slate_size must be between 1 and 50, got 51"
    with pytest.raises(RequestError, match="batch-size must be <= 64"):
        client.recommend(list(range(65)))
    assert client.recommend([1])[0].item_ids[0] == 1000


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_peer_that_never_answers_is_given_up_in_time(protocol: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_at = time.monotonic()
        client = CascadeClient(f"127.0.0.1:{silent.getsockname()[1]}", protocol, timeout_s=0.5)
        with client, pytest.raises(ServingError, match=r"no answer from \w+://127.0.0.1:\d+ within 0.5 s"):
            client.recommend([1])
        assert time.monotonic() - started_at < 5


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nobody_there_is_one_sentence(protocol: Any) -> None:
    refused = r"no Cascade server was reached at \w+://127.0.0.1:1 .*Connection refused"
    with CascadeClient("127.0.0.1:1", protocol, timeout_s=5) as client, pytest.raises(ServingError, match=refused):
        client.recommend([1])


def test_the_wrong_protocol_for_a_port_is_said(toy_server: TritonServer) -> None:
    swapped = [toy_server.grpc_url.replace("grpc:", "http:"), toy_server.http_url.replace("http:", "grpc:")]
    for url in swapped:
        with (
            CascadeClient(url, timeout_s=5) as client,
            pytest.raises(ServingError, match="gRPC is port 8001 and HTTP port 8000"),
        ):
            client.recommend([1])


def test_a_model_that_is_not_served_is_said(toy_server: TritonServer) -> None:
    other = CascadeClient(toy_server.http_url, model="other")
    with other as client, pytest.raises(ServingError, match="serves no model 'other'"):
        client.recommend([1])


def test_plain_json_over_http_works_without_the_client(toy_server: TritonServer) -> None:
    inputs = [
        {"name": "user_id", "shape": [2, 1], "datatype": "INT64", "data": [17, 42]},
        {"name": "slate_size", "shape": [2, 1], "datatype": "INT32", "data": [2, 2]},
    ]
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(f"{toy_server.http_url}/v2/models/cascade/infer", data=body, timeout=5) as response:
        outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    assert outputs["item_id"] == [17000, 17001, 42000, 42001]
    assert outputs["path"] == ["known_user", "known_user"]


def test_the_command_prints_json_and_a_table(toy_server: TritonServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend_command(toy_server.grpc_url, ["17", "-4"], as_json=True, slate_size=2) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(slate["user_id"], slate["item_ids"]) for slate in answer] == [(17, [17000, 17001]), (-4, [-4000, -3999])]
    assert recommend_command(toy_server.http_url, ["17"], slate_size=2) == 0
    printed = capsys.readouterr().out
    assert "17001" in printed
    assert "0.5000" in printed
    with pytest.raises(RequestError, match="user_id must be integers on this server, got 'ann'"):
        recommend_command(toy_server.grpc_url, ["ann"])


def test_the_command_reads_text_as_the_types_of_the_server(
    toy_server: TritonServer, string_server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"recent_item_ids": ["7"], "exclude_item_ids": ["1000"], "context": {"hour": "4"}}
    recommend_command(toy_server.grpc_url, ["1"], slate_size=2, as_json=True, **options)
    assert json.loads(capsys.readouterr().out) == [
        {"user_id": 1, "item_ids": [7, 1001], "scores": [5.0, 4.5], "path": "known_user"}
    ]
    recommend_command(string_server.http_url, ["1"], slate_size=2, as_json=True, **options)
    assert json.loads(capsys.readouterr().out)[0]["item_ids"] == ["7", "1001"]
    for text, score in (("true", 2.0), ("False", 1.0), ("4.0", 5.0), ("", float(-(2**63)) + 1)):
        recommend_command(toy_server.grpc_url, ["1"], slate_size=1, as_json=True, context={"hour": text})
        assert json.loads(capsys.readouterr().out)[0]["scores"] == [score]
    with pytest.raises(RequestError, match=r"hour must be integers on this server, got '4\.5'"):
        recommend_command(toy_server.grpc_url, ["1"], context={"hour": "4.5"})
    with pytest.raises(RequestError, match="hour must be integers on this server, got 'late'"):
        recommend_command(toy_server.grpc_url, ["1"], context={"hour": "late"})


def test_threads_may_share_a_grpc_client(toy_server: TritonServer) -> None:
    answers: dict[int, object] = {}

    def ask(client: CascadeClient, user_id: int) -> None:
        answers[user_id] = client.recommend([user_id], slate_size=1)[0].item_ids

    with CascadeClient(toy_server.grpc_url) as client:
        threads = [threading.Thread(target=ask, args=(client, user_id)) for user_id in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {user_id: [user_id * 1000] for user_id in range(8)}
