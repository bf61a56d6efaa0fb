"""What is said of answers that are none of a Cascade server's: the true cause, and never that nobody was reached."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cascade_client import (
    CannotReach,
    CascadeClientError,
    RequestRefused,
    Slate,
    Slates,
    Timeout,
    Unavailable,
    WrongServer,
    parse_url,
)
from cascade_client.answers import decode
from cascade_client.failures import of_triton, sentence_of
from cascade_client.request import Request, context_features
from tests.client.in_loop import make_client
from tests.client.peers import GOOD, METADATA, grpc_answer, grpc_peer, http_peer

WAYS = ("sync", "asyncio")


def error_of(way: str, url: str) -> CascadeClientError:
    protocol = url.partition(":")[0]
    client = make_client(f"{way}-{protocol}", url, timeout_s=5, retry=None)
    with client, pytest.raises(CascadeClientError) as caught:
        client.recommend([1])
    assert "no Cascade server was reached" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("metadata", "answer", "said"),
    [
        ((200, b"<html>welcome</html>"), (200, b""), "JSONDecodeError"),
        ((404, b"<html>not here</html>"), (200, b""), "HTTP status 404"),
        ((502, b"<html>bad gateway</html>"), (200, b""), "HTTP status 502"),
        ((200, b'{"hello": "world"}'), (200, b""), "it states no inputs of a model: {'hello': 'world'}"),
        ((200, b'["a", "b"]'), (200, b""), "answered, but not as a Cascade server does"),
        ((200, METADATA), (200, b"<html>"), "JSONDecodeError"),
        ((200, METADATA), (200, b'\xff\xfe"'), "UTF-8"),
        ((200, METADATA), (200, b'{"model_name": "cascade"}'), "KeyError: 'outputs'"),
        ((200, METADATA), (200, b'{"outputs": []}'), "it has no outputs, and no item_id, score, num_items, path"),
        ((200, METADATA), (500, b"{}"), "HTTP status 500"),
    ],
)
def test_over_http(way: str, metadata: tuple[int, bytes], answer: tuple[int, bytes], said: str) -> None:
    with http_peer(metadata, answer) as url:
        error = error_of(way, url)
    assert isinstance(error, Unavailable if "502" in said else WrongServer)
    assert said in str(error)


def test_the_peer_of_these_tests_can_answer_well() -> None:
    with http_peer((200, METADATA), GOOD) as url, make_client("sync-http", url) as client:
        assert client.recommend([1]) == Slates([Slate(1, ["a"], [0.5], "known_user")])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"item_id": b"\x01\0\0\0\xff"}, r"item_id b'\xff' is not UTF-8"),
        ({"path": b"\x01\0\0\0\xc3"}, r"path b'\xc3' is not UTF-8"),
        ({"score": b"\0\0"}, "answered, but not as a Cascade server does"),
        ({"num_items": np.array([7], np.int32).tobytes()}, "num_items says [7] of 1 items"),
        ({"num_items": np.array([-1], np.int32).tobytes()}, "num_items says [-1] of 1 items"),
    ],
)
def test_over_grpc(way: str, changed: dict[str, bytes], said: str) -> None:
    with grpc_peer(lambda service, _: grpc_answer(service, **changed)) as url:
        error = error_of(way, url)
    assert isinstance(error, WrongServer)
    assert said in str(error)


@pytest.mark.parametrize("way", WAYS)
def test_another_grpc_service_is_not_taken_for_nobody(way: str) -> None:
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert "UNIMPLEMENTED" in str(error_of(way, f"grpc://127.0.0.1:{port}"))
    finally:
        server.stop(0).wait()


RIGHT = {
    "item_id": np.array([[1, 2]]),
    "score": np.array([[0.5, 0.25]], np.float32),
    "num_items": np.array([[2]], np.int32),
    "path": np.array([[b"known_user"]], object),
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"item_id": np.array([1, 2])}, "item_id has the shape [2], for 1 users"),
        ({"score": np.array([[0.5]], np.float32)}, "score has the shape [1, 1], for 1 users"),
        ({"num_items": np.array([[2], [2]])}, "num_items has the shape [2, 1], for 1 users"),
        ({"num_items": np.array([[2.0]])}, "num_items is of type float64"),
        ({"path": np.array([[3]])}, "path is of type int64"),
        ({"score": None}, "no score"),
    ],
)
def test_a_wrong_shape_or_type_is_named(changed: dict[str, Any], said: str) -> None:
    assert decode([7], RIGHT)[0].item_ids == [1, 2]
    with pytest.raises(WrongServer) as caught:
        decode([7], {**RIGHT, **changed})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("message", "status", "kind", "said"),
    [
        ("Stub process 'cascade_0_1' is not healthy.", "500", Unavailable, "has lost a process of its model"),
        ("Exceeds maximum queue size", "StatusCode.UNAVAILABLE", Unavailable, "cannot answer now: Exceeds maximum"),
        ("failed to connect to all addresses", "StatusCode.UNAVAILABLE", CannotReach, "no Cascade server was reached"),
        ("Socket closed", "StatusCode.UNAVAILABLE", CannotReach, "no Cascade server was reached"),
        ("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED", Timeout, "no answer from grpc://host:8001 within 5 s"),
        ("Request for unknown model: 'x' is not found", "404", WrongServer, "serves no model 'cascade'"),
        ("Request for unknown model: 'cascade' has no available versions", "404", Unavailable, "serves no model"),
        ("model 'cascade', version 1 is not ready", "400", Unavailable, "serves no model 'cascade'"),
        ("slate_size must be 1", "StatusCode.INVALID_ARGUMENT", RequestRefused, "slate_size must be 1"),
    ],
)
def test_what_triton_says_has_its_class(message: str, status: str, kind: type[CascadeClientError], said: str) -> None:
    error = of_triton(message, status, parse_url("host:8001"), "cascade", 5.0)
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize(
    "message",
    [
        "[StatusCode.INTERNAL] user_id is empty",
        "in ensemble 'cascade', Failed to process the request(s) for model 'rank_0_0', message: user_id is empty",
        "Failed to process the request(s) for model instance 'cascade_0_0', message: user_id is empty\n\nAt:\n/a.py",
    ],
)
def test_only_the_words_of_the_model_are_shown(message: str) -> None:
    assert sentence_of(message) == "user_id is empty"


def test_paths_of_the_server_are_not_shown() -> None:
    assert sentence_of("cannot read /srv/repo/cascade/1/items.npy now") == "cannot read (a file of the server) now"
    assert sentence_of("give a/b or 1/2") == "give a/b or 1/2"


def answer_of(**live: np.ndarray) -> dict[str, np.ndarray]:
    """A slate of one item for users 1 and 2."""
    return {
        "item_id": np.array([[7], [8]]),
        "score": np.array([[0.5], [0.25]], np.float32),
        "num_items": np.array([[1], [1]], np.int32),
        "path": np.array([[b"known_user"], [b"history"]], object),
        **live,
    }


def test_a_server_with_live_events_says_how_far_its_slates_know_them() -> None:
    plain = decode([1, 2], answer_of())
    assert plain[0] == Slate(1, [7], [0.5], "known_user")
    keys = ["user_id", "item_ids", "scores", "path"]
    assert [list(row) for row in plain.to_builtins()] == [keys, keys]
    live = decode([1, 2], answer_of(stream_offset=np.array([[9], [9]]), state_age_ms=np.array([[12], [-1]])))
    assert [(slate.stream_offset, slate.state_age_ms) for slate in live] == [(9, 12), (9, -1)]
    assert list(live.to_builtins()[1]) == [*keys, "stream_offset", "state_age_ms"]
    assert '"state_age_ms": -1' in live.to_json()
    with pytest.raises(WrongServer, match="stream_offset is of type float64 and shape"):
        decode([1, 2], answer_of(stream_offset=np.array([[9.0], [9.0]])))
    with pytest.raises(WrongServer, match=r"state_age_ms is of type int64 and shape \[1, 1\]"):
        decode([1, 2], answer_of(state_age_ms=np.array([[9]])))


def test_min_offset_goes_to_a_server_that_takes_it_and_is_no_context() -> None:
    inputs = {"user_id": "INT64", "hour": "INT64", "min_offset": "INT64"}
    request = Request([1, 2], {}, None, None, None, min_offset=2**40)
    assert [(t.name, t.array.tolist()) for t in request.tensors(inputs)][1] == ("min_offset", [[2**40], [2**40]])
    assert context_features(inputs) == {"hour": "INT64"}
    with pytest.raises(RequestRefused, match="takes no min_offset: it knows no live events"):
        request.tensors({"user_id": "INT64"})
    with pytest.raises(RequestRefused, match="min_offset must be integers"):
        Request([1], {}, None, None, None, min_offset="now").tensors(inputs)  # type: ignore[arg-type]


class TestDrawnSlates:
    """What a server that explores is asked and says."""

    INPUTS = {"user_id": "INT64", "seed": "INT64", "force_policy": "BYTES", "device": "BYTES"}
    OUTPUTS = {
        "item_id": np.array([[5, 6], [7, -1]]),
        "score": np.array([[0.5, 0.25], [0.5, 0]], np.float32),
        "num_items": np.array([[2], [1]], np.int32),
        "path": np.array([[b"known_user"], [b"history"]], object),
        "policy": np.array([[b"softmax"], [b"deterministic"]], object),
        "explored": np.array([[True], [False]]),
        "log_propensity": np.array([[-0.5, -1.0], [0, 0]], np.float32),
        "slate_seed": np.array([[7], [8]]),
    }

    def test_a_slate_says_how_it_was_drawn(self) -> None:
        drawn, ordered = decode([1, 2], self.OUTPUTS)
        assert (drawn.policy, drawn.explored, drawn.log_propensity, drawn.seed) == ("softmax", True, [-0.5, -1.0], 7)
        assert (ordered.policy, ordered.explored, ordered.log_propensity) == ("deterministic", False, [0.0])
        assert decode([1, 2], self.OUTPUTS).to_builtins()[0]["seed"] == 7

    @pytest.mark.parametrize("name", ["policy", "explored", "log_propensity", "slate_seed"])
    def test_an_answer_of_another_kind_is_no_answer(self, name: str) -> None:
        with pytest.raises(WrongServer, match=f"{name} is of type float64 and shape"):
            decode([1, 2], {**self.OUTPUTS, name: np.zeros((2, 3))})

    def test_another_server_says_nothing_of_it(self) -> None:
        plain = {name: self.OUTPUTS[name] for name in ("item_id", "score", "num_items", "path")}
        assert "seed" not in decode([1, 2], plain).to_builtins()[0]

    @pytest.mark.parametrize(("seed", "sent"), [(7, [[7], [7]]), ([1, -2], [[1], [-2]])])
    def test_a_seed_is_that_of_all_users_or_of_each(self, seed: Any, sent: list[list[int]]) -> None:
        tensors = Request([1, 2], {}, None, None, None, seed=seed, policy="softmax").tensors(self.INPUTS)
        found = {tensor.name: tensor.array.tolist() for tensor in tensors}
        assert (found["seed"], found["force_policy"]) == (sent, [[b"softmax"], [b"softmax"]])
        assert context_features(self.INPUTS) == {"device": "BYTES"}

    @pytest.mark.parametrize("wrong", [{"seed": [1]}, {"seed": 2**63}, {"seed": "x"}, {"seed": 1.5}])
    def test_a_seed_that_is_none_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(RequestRefused, match="seed must"):
            Request([1, 2], {}, None, None, None, **wrong).tensors(self.INPUTS)

    @pytest.mark.parametrize("given", [{"seed": 1}, {"policy": "softmax"}])
    def test_a_model_that_does_not_explore_is_named(self, given: dict[str, Any]) -> None:
        with pytest.raises(RequestRefused, match=r"the model takes no (seed|policy): it draws no slates at random"):
            Request([1], {}, None, None, None, **given).tensors({"user_id": "INT64"})

    def test_a_context_feature_may_be_called_seed_where_nothing_is_drawn(self) -> None:
        inputs = {"user_id": "INT64", "seed": "INT64"}
        assert context_features(inputs) == {"seed": "INT64"}
        tensors = Request([1], {"seed": [3]}, None, None, None).tensors(inputs)
        assert [tensor.name for tensor in tensors] == ["user_id", "seed"]


class TestUtilities:
    """What a server that orders by utility says."""

    PLAIN = {name: TestDrawnSlates.OUTPUTS[name] for name in ("item_id", "score", "num_items", "path")}

    def test_a_slate_says_what_its_items_are_worth(self) -> None:
        found = decode([1, 2], {**self.PLAIN, "utility": np.array([[2.5, 1.0], [np.inf, 0]], np.float32)})
        assert [slate.utilities for slate in found] == [[2.5, 1.0], [np.inf]]
        assert '"utilities": [\n      null' in found.to_json()
        assert "utilities" not in decode([1, 2], self.PLAIN).to_builtins()[0]

    @pytest.mark.parametrize("utility", [np.zeros((2, 3), np.float32), np.zeros((2, 2), int)])
    def test_a_utility_of_another_kind_is_no_answer(self, utility: np.ndarray) -> None:
        with pytest.raises(WrongServer, match="utility is of type"):
            decode([1, 2], {**self.PLAIN, "utility": utility})


class TestDrafts:
    """What a model that drafts slates from those of two versions says."""

    PLAIN = TestUtilities.PLAIN
    TEAM = np.array([[1, -1], [0, -1]], np.int32)
    VARIANT = np.array([[b"both"], [b""]], object)

    def test_a_slate_says_who_chose_each_place_and_whose_it_is(self) -> None:
        found = decode([1, 2], {**self.PLAIN, "team": self.TEAM, "variant": self.VARIANT})
        assert [(slate.team, slate.variant) for slate in found] == [([1, -1], "both"), ([0], "")]
        assert found.to_builtins()[0]["team"] == [1, -1]
        assert not {"team", "variant"} & set(decode([1, 2], self.PLAIN).to_builtins()[0])

    @pytest.mark.parametrize("team", [TEAM[:, :1], TEAM.astype(float)])
    def test_teams_of_another_kind_are_no_answer(self, team: np.ndarray) -> None:
        with pytest.raises(WrongServer, match="team is of type"):
            decode([1, 2], {**self.PLAIN, "team": team, "variant": self.VARIANT})
