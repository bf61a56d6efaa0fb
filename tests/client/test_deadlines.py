"""No call lasts longer than it may, whatever the peer does; and no connection is waited for too long."""

from __future__ import annotations

import socket
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from cascade_client import BadSetting, CannotReach, CascadeClient, Retry, Timeout
from tests.client.clock import took
from tests.client.in_loop import KINDS, make_client
from tests.client.peers import GOOD, METADATA, error_reply, grpc_answer, grpc_peer, http_peer

pytestmark = pytest.mark.timeout(300)


def took_about(expected_s: float) -> AbstractContextManager[None]:
    return took(0.9 * expected_s, expected_s + 1.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("retry", [None, Retry()])
def test_a_peer_that_accepts_and_never_answers(kind: str, retry: Retry | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make_client(kind, f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5, retry=retry)
        with client, took_about(0.5), pytest.raises(Timeout, match=r"no answer from \w+://127.0.0.1:\d+ within 0.5 s"):
            client.recommend([1])


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
def test_a_peer_that_answers_byte_by_byte(kind: str) -> None:
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        connection = server.accept()[0]
        with connection:
            connection.recv(1 << 16)
            for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000:
                if stop.wait(0.05):
                    return
                try:
                    connection.send(bytes([letter]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        client = make_client(kind, f"127.0.0.1:{server.getsockname()[1]}", timeout_s=0.6)
        with client, took_about(0.6), pytest.raises(Timeout):
            client.recommend([1])
        stop.set()
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_not_made_is_given_up_before_the_call(kind: str) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # further ones are dropped
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"127.0.0.1:{full.getsockname()[1]}"
        client = stack.enter_context(make_client(kind, url, timeout_s=10, connect_timeout_s=0.5, retry=None))
        with took_about(0.5), pytest.raises(CannotReach):
            client.recommend([1])


class Hangs:
    """A model that answers a request or not, as it was told of the next ones."""

    def __init__(self) -> None:
        self.num_asked, self.num_hanging, self._release = 0, 0, threading.Event()

    def answer(self) -> None:
        self.num_asked += 1
        if self.num_hanging:
            self.num_hanging -= 1
            self._release.wait(60)

    def release(self) -> None:
        self._release.set()


def check_that_it_is_asked_once(kind: str, url: str, hangs: Hangs) -> None:
    # The connection and what the model takes are there before: the times are those of requests alone.
    with make_client(kind, url, timeout_s=1.0) as client:
        client.recommend([1])
        hangs.num_asked, hangs.num_hanging = 0, 1
        with took_about(1.0), pytest.raises(Timeout):
            client.recommend([1])
    assert hangs.num_asked == 1
    with make_client(kind, url, timeout_s=60, retry=Retry(attempt_timeout_s=1.0)) as client:
        client.recommend([1])
        hangs.num_asked, hangs.num_hanging = 0, 1
        with took_about(1.0):
            assert client.recommend([1])[0].item_ids == ["a"]
    assert hangs.num_asked == 2
    hangs.release()


@pytest.mark.parametrize("kind", ["sync-grpc", "asyncio-grpc"])
def test_a_grpc_model_that_hangs_is_asked_once_unless_another_try_is_allowed(kind: str) -> None:
    hangs = Hangs()

    def answer(service: Any, _: Any) -> Any:
        hangs.answer()
        return grpc_answer(service)

    with grpc_peer(answer) as url:
        check_that_it_is_asked_once(kind, url, hangs)


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
def test_a_last_try_without_an_answer_does_not_hide_what_an_earlier_one_was_told(kind: str) -> None:
    told, release = [error_reply(503, "no broker takes events now")], threading.Event()

    def answer() -> Any:
        if not told:
            release.wait(20)
        return told.pop() if told else GOOD

    with http_peer((200, METADATA), answer) as url, make_client(kind, url, timeout_s=2) as client:
        said = r"no answer from \S+ within 2 s; an earlier try was told: .*no broker takes events now"
        with pytest.raises(Timeout, match=said):
            client.recommend([1])
        release.set()


@pytest.mark.parametrize("kind", ["sync-http", "asyncio-http"])
def test_an_http_model_that_hangs_is_asked_once_unless_another_try_is_allowed(kind: str) -> None:
    hangs = Hangs()

    def answer() -> Any:
        hangs.answer()
        return GOOD

    with http_peer((200, METADATA), answer) as url:
        check_that_it_is_asked_once(kind, url, hangs)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_a_time_is_a_number_above_0(value: Any) -> None:
    for options in ({"timeout_s": value}, {"connect_timeout_s": value}):
        with pytest.raises(BadSetting, match="_s must be a number of seconds above 0, got "):
            CascadeClient("localhost", **options)
    with pytest.raises(BadSetting, match="first_wait_s must be a number of seconds above 0"):
        Retry(first_wait_s=value)
