"""What is tried again, how long, and what never is."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cascade_client import CannotReach, RequestRefused, Retry, Unavailable
from tests.client.clock import took
from tests.client.in_loop import KINDS, make_client, url_of
from tests.client.peers import GOOD, INPUTS, METADATA, error_reply, grpc_answer, grpc_peer, http_peer
from tests.ports import free_port

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_said_at_once_without_a_retry(kind: str) -> None:
    # Whoever waited would wait for an hour.
    refused = r"no Cascade server was reached at \w+://127.0.0.1:1 .*(Connection refused|Connect call failed)"
    client = make_client(kind, "127.0.0.1:1", timeout_s=3600, retry=None)
    with client, pytest.raises(CannotReach, match=refused) as caught:
        client.recommend([1])
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_tried_until_the_time_is_up(kind: str) -> None:
    with (
        make_client(kind, "127.0.0.1:1", timeout_s=1) as client,
        took(0.3, 2.0),
        pytest.raises(CannotReach, match="no Cascade server"),
    ):
        client.recommend([1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_comes_up_later_is_found(kind: str) -> None:
    answers: list[Any] = []
    port = free_port()
    with make_client(kind, f"127.0.0.1:{port}", timeout_s=120) as client:
        asking = threading.Thread(target=lambda: answers.append(client.recommend([1])))
        asking.start()
        time.sleep(0.7)
        assert not answers
        peer: Any = (
            grpc_peer(lambda service, _: grpc_answer(service), port)
            if kind.endswith("grpc")
            else http_peer((200, METADATA), GOOD, port)
        )
        with peer:
            asking.join()
    assert answers[0][0].item_ids == ["a"]


@pytest.mark.slow
@pytest.mark.triton
def test_calls_bridge_a_restart_of_the_server(make_toy: Any) -> None:
    from ensemble.serving.triton import TritonServer

    with TritonServer(make_toy()) as server, ThreadPoolExecutor(2) as side_by_side:
        clients = [make_client(f"sync-{name}", url_of(name, server), timeout_s=200) for name in ("grpc", "http")]
        for client in clients:
            assert client.recommend([1])[0].item_ids[0] == 1000
        server.restart()
        answers = list(side_by_side.map(lambda client: client.recommend([2]), clients))
        assert [slates[0].item_ids[0] for slates in answers] == [2000, 2000]
        for client in clients:
            client.close()


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
@pytest.mark.parametrize(
    "busy",
    [
        error_reply(503, "Exceeds maximum queue size"),
        error_reply(500, "Stub process 'cascade_0_1' is not healthy."),
        error_reply(400, "Request for unknown model: 'cascade' has no available versions"),
        (502, b"<html>bad gateway</html>"),
        (503, b""),
        (429, b"slow down"),
    ],
)
def test_a_server_that_cannot_answer_now_is_asked_again(kind: str, busy: tuple[int, bytes]) -> None:
    replies = iter([busy, busy, GOOD])
    with http_peer((200, METADATA), lambda: next(replies)) as url, make_client(kind, url) as client:
        assert client.recommend([1])[0].item_ids == ["a"]
    assert next(replies, None) is None
    with (
        http_peer((200, METADATA), busy) as url,
        make_client(kind, url, retry=None) as client,
        pytest.raises(Unavailable),
    ):
        client.recommend([1])


@pytest.mark.parametrize("kind", ["sync-grpc", "asyncio-grpc"])
def test_a_grpc_server_that_cannot_answer_now_is_asked_again(kind: str) -> None:
    import grpc

    tries = itertools.count(1)

    def answer(service: Any, context: Any) -> Any:
        if next(tries) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        return grpc_answer(service)

    with grpc_peer(answer) as url, make_client(kind, url) as client:
        assert client.recommend([1])[0].item_ids == ["a"]
    assert next(tries) == 4


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
def test_a_connection_that_breaks_under_a_request_is_made_again(kind: str) -> None:
    def serve(server: socket.socket) -> None:
        for _ in range(2):
            connection = server.accept()[0]
            connection.recv(1 << 16)
            connection.close()
        connection = server.accept()[0]
        for body in (METADATA, GOOD[1]):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        connection.recv(1)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        with make_client(kind, f"127.0.0.1:{server.getsockname()[1]}") as client:
            assert client.recommend([1])[0].item_ids == ["a"]
        thread.join()


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
@pytest.mark.parametrize("status", [400, 500])
def test_a_refused_request_is_never_sent_again(kind: str, status: int) -> None:
    asked = itertools.count()

    def refuse() -> tuple[int, bytes]:
        next(asked)
        return error_reply(status, "slate_size must be from 1 to 50, got 51")

    with http_peer((200, METADATA), refuse) as url, make_client(kind, url) as client:
        for _ in range(2):
            with pytest.raises(RequestRefused, match=r"^slate_size must be from 1 to 50, got 51$"):
                client.recommend([1])
    assert next(asked) == 2


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
def test_a_new_version_of_the_model_with_other_inputs_is_noticed(kind: str) -> None:
    stated = [*INPUTS]

    def metadata() -> tuple[int, bytes]:
        return 200, json.dumps({"inputs": stated}).encode()

    with http_peer(metadata, GOOD) as url, make_client(kind, url) as client:
        client.recommend([1])
        with pytest.raises(RequestRefused, match="takes no input 'hour'; its context features are: none"):
            client.recommend([1], context={"hour": [3]})
        stated.append({"name": "hour", "datatype": "FP64", "shape": [-1, 1]})
        assert client.recommend([1], context={"hour": [3.5]})[0].item_ids == ["a"]
        assert client.context_features == {"hour": "FP64"}


def test_waits_double_up_to_the_longest_and_differ() -> None:
    retry = Retry(first_wait_s=0.1, longest_wait_s=0.5)
    drawn = [list(itertools.islice(retry.waits(), 5)) for _ in range(50)]
    for waits in drawn:
        for wait_s, longest_s in zip(waits, (0.1, 0.2, 0.4, 0.5, 0.5), strict=True):
            assert longest_s / 2 <= wait_s <= longest_s
    assert len({waits[0] for waits in drawn}) > 40
