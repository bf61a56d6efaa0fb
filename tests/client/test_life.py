"""Many calls at once, cancelled ones, closing, and bugs that stay bugs."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import numpy as np
import pytest

from cascade_client import AsyncCascadeClient, CannotReach, CascadeClient, Timeout, grpc_channel, parse_url
from cascade_client.tensors import Tensor
from cascade_client.transport import connect
from tests.client.in_loop import KINDS, make_client, url_of
from tests.client.peers import GOOD, METADATA, grpc_answer, grpc_peer, http_peer
from tests.ports import free_port

pytestmark = pytest.mark.timeout(300)

PROTOCOLS = ("grpc", "http")


@pytest.mark.triton
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_threads_share_a_client(protocol: str, toy_server: Any) -> None:
    answers: dict[int, object] = {}

    def ask(client: CascadeClient, first: int) -> None:
        for user_id in range(first, first + 10):
            answers[user_id] = client.recommend([user_id], slate_size=1)[0].item_ids

    with CascadeClient(url_of(protocol, toy_server)) as client:
        threads = [threading.Thread(target=ask, args=(client, first)) for first in range(0, 80, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {user_id: [user_id * 1000] for user_id in range(80)}


@pytest.mark.triton
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_calls_of_one_loop_are_under_way_at_once(protocol: str, toy_server: Any) -> None:
    async def ask() -> list[Any]:
        async with AsyncCascadeClient(url_of(protocol, toy_server), timeout_s=200) as client:
            return await asyncio.gather(*(client.recommend([user_id], slate_size=1) for user_id in range(300)))

    assert [slates[0].item_ids for slates in asyncio.run(ask())] == [[user_id * 1000] for user_id in range(300)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_of_one_loop_do_not_wait_for_each_other(protocol: str) -> None:
    together = threading.Barrier(4, timeout=60)

    def answer(*context: Any) -> Any:
        together.wait()
        return grpc_answer(context[0]) if context else GOOD

    async def ask(url: str) -> list[Any]:
        async with AsyncCascadeClient(url, timeout_s=60) as client:
            return await asyncio.gather(*(client.recommend([1]) for _ in range(4)))

    peer: Any = grpc_peer(answer) if protocol == "grpc" else http_peer((200, METADATA), answer)
    with peer as url:
        assert [slates[0].item_ids for slates in asyncio.run(ask(url))] == [["a"]] * 4


@pytest.mark.triton
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cancelled_call_is_cancelled_and_the_client_goes_on(protocol: str, toy_server: Any) -> None:
    async def ask(silent_url: str) -> Any:
        async with AsyncCascadeClient(silent_url, protocol, timeout_s=30) as client:  # type: ignore[arg-type]
            call = asyncio.create_task(client.recommend([1]))
            await asyncio.sleep(0.2)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        async with AsyncCascadeClient(url_of(protocol, toy_server)) as client:
            call = asyncio.create_task(client.recommend([1]))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return await client.recommend([2])

    with socket.create_server(("127.0.0.1", 0)) as silent:
        slates = asyncio.run(ask(f"127.0.0.1:{silent.getsockname()[1]}"))
    assert slates[0].item_ids[0] == 2000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_closing_ends_what_is_under_way(protocol: str) -> None:
    async def ask(url: str) -> None:
        # Who went on would wait for an hour.
        client = AsyncCascadeClient(url, protocol, timeout_s=3600)  # type: ignore[arg-type]
        call = asyncio.create_task(client.recommend([1]))
        await asyncio.sleep(0.3)
        await client.close()
        with pytest.raises((CannotReach, RuntimeError)):
            await call

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(ask(f"127.0.0.1:{silent.getsockname()[1]}"))


@pytest.mark.triton
@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_client_is_not_used_again(kind: str, toy_server: Any) -> None:
    client = make_client(kind, url_of(kind, toy_server))
    with client:
        client.recommend([1])
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="this client is closed"):
            client.recommend([1])


def test_closing_closes_the_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            connection = server.accept()[0]
            with connection:
                for body in (METADATA, GOOD[1]):
                    connection.recv(1 << 16)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                while connection.recv(1 << 16):
                    pass
                ended.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with CascadeClient(f"127.0.0.1:{server.getsockname()[1]}", "http") as client:
            client.recommend([1])
            assert not ended.is_set()
        assert ended.wait(60)
        thread.join()


@pytest.mark.triton
@pytest.mark.parametrize("kind", KINDS)
def test_a_bug_in_the_encoding_stays_what_it_is(kind: str, toy_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Tensor:
        raise TypeError("a bug")

    monkeypatch.setattr("cascade_client.request.encode_column", broken)
    with make_client(kind, url_of(kind, toy_server)) as client, pytest.raises(TypeError, match="a bug"):
        client.recommend([1])


@pytest.mark.triton
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (Tensor("user_id", "INT64", None), AttributeError),  # type: ignore[arg-type]
        (Tensor("user_id", None, np.array([[1]])), Exception),  # type: ignore[arg-type]
        (Tensor(object(), "INT64", np.array([[1]])), TypeError),  # type: ignore[arg-type]
    ],
)
def test_a_tensor_that_cannot_be_sent_says_nothing_of_the_server(
    protocol: str, tensor: Tensor, kind: type[Exception], toy_server: Any
) -> None:
    transport = connect(parse_url(url_of(protocol, toy_server)))
    try:
        with pytest.raises(kind) as caught:
            transport.infer([tensor], 5.0)
    finally:
        transport.close()
    assert "server" not in str(caught.value)


@pytest.mark.parametrize("bug", [TypeError("a bug"), KeyError("a bug"), ValueError("a bug"), RuntimeError("a bug")])
def test_a_bug_in_the_connection_stays_what_it_is(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise bug

    with http_peer((200, METADATA), GOOD) as url, CascadeClient(url) as client:
        client.recommend([1])
        monkeypatch.setattr("http.client.HTTPConnection.request", broken)
        with pytest.raises(type(bug), match="a bug"):
            client.recommend([1])


@pytest.mark.parametrize("kind", ["sync-grpc", "asyncio-grpc"])
def test_a_channel_that_has_not_reached_its_server_for_long_is_made_anew(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def channel(client: Any) -> Any:
        return getattr(client, "_client", client)._transport._channel.current()

    monkeypatch.setattr(grpc_channel, "CHANNEL_S", 0.0)
    port = free_port()
    with grpc_peer(lambda service, context: grpc_answer(service), port) as url:
        client = make_client(kind, url, retry=None, timeout_s=60.0, connect_timeout_s=60.0)
        client.recommend([1])
        first = channel(client)
        client.recommend([1])
        assert channel(client) is first
    with client:
        with pytest.raises((CannotReach, Timeout)):
            client.recommend([1])
        assert channel(client) is None
        with grpc_peer(lambda service, context: grpc_answer(service), port):
            client.recommend([1])
            assert channel(client) is not first
