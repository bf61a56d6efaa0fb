"""Requests and connections that no client of ours makes: too large, too slow, too many, of impossible shapes."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.failures.stage import Stage
from ensemble.serving.triton import TritonServer

__all__ = ["ask_for_shape", "ask_slowly", "ask_too_much", "connect_often"]

PATH = "/v2/models/cascade/infer"
TOO_MANY_USERS, BODY_BYTES = 10_000, 64 << 20
SLOW_CLIENTS, SLOW_S = 50, 5.0
CONNECTIONS, HELD_S = 10_000, 3.0


def ask_for_shape(server: TritonServer, shape: Sequence[int]) -> str:
    """Ask for slates of the first size of a tensor of some shape; what comes of it."""
    size = {"name": "slate_size", "datatype": "INT32", "shape": list(shape), "data": [5]}
    return _post(server, json.dumps({"inputs": [size]}).encode())


def ask_too_much(stage: Stage) -> str:
    """Ten thousand users in one request, and 64 MiB that are no request."""
    users = {"name": "user_id", "datatype": _kind(stage), "shape": [TOO_MANY_USERS, 1]}
    users["data"] = [stage.theatre.questions[0].user] * TOO_MANY_USERS
    many = _post(stage.server, json.dumps({"inputs": [users]}).encode())
    brackets = _post(stage.server, b"[" * BODY_BYTES)
    stage.killed_at.append(time.monotonic())
    return f"{many}; {brackets}"


def ask_slowly(stage: Stage) -> str:
    """Clients that send a byte now and then, and others that never read what they asked for."""
    body = json.dumps({"inputs": []}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as stack:
        slow = [stack.enter_context(_connected(stage, "http")) for _ in range(SLOW_CLIENTS)]
        for deaf in (stack.enter_context(_connected(stage, "http")) for _ in range(SLOW_CLIENTS)):
            _is_sent(deaf, 100 * (head + body))
        until, place, kept = time.monotonic() + SLOW_S, 0, slow
        while time.monotonic() < until:
            kept = [client for client in kept if _is_sent(client, (head + body)[place : place + 1])]
            place += 1
            time.sleep(0.1)
    closed = f"the server closed {SLOW_CLIENTS - len(kept)} of them"
    return f"{SLOW_CLIENTS} clients sent {place} bytes each, {closed}; {SLOW_CLIENTS} read nothing"


def connect_often(stage: Stage) -> str:
    """Ten thousand connections that are held open, half of them HTTP's and half of them gRPC's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * CONNECTIONS)), hard))
    refused = 0
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            try:
                stack.enter_context(_connected(stage, ("http", "grpc")[number % 2]))
            except OSError:
                refused += 1
        time.sleep(HELD_S)
    return f"{CONNECTIONS - refused:,} connections held for {HELD_S:g} s, {refused:,} refused"


def _connected(stage: Stage, protocol: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stage.server.ports[protocol]), timeout=5)


def _is_sent(client: socket.socket, data: bytes) -> bool:
    """Whether the server takes it still."""
    try:
        # A signal would end this process where a library has put back what it does by default.
        client.sendall(data, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def _kind(stage: Stage) -> str:
    return "BYTES" if isinstance(stage.theatre.questions[0].user, str) else "INT64"


def _post(server: TritonServer, body: bytes) -> str:
    """The sentence or the error that a request gets."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=30)
    try:
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    found: Any = json.loads(text)
    return str(found["error"])[:200] if "error" in found else "answered"
