"""What goes wrong between client and server, each as one sentence of the right class, with its cause."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from cascade_client.address import Address
from cascade_client.errors import (
    CannotReach,
    CascadeClientError,
    RequestRefused,
    Timeout,
    Unavailable,
    WrongServer,
)

__all__ = ["cannot_reach", "not_cascade", "of_grpc", "of_status", "of_triton", "reading", "sentence_of", "too_slow"]

# What Triton and its Python backend put before the words of the model.
PREFIXES = re.compile(
    r"^(?:\[[^\]]*\] *|in ensemble '[^']*', *|Failed to process the request\(s\) for model(?: instance)? '[^']*', "
    r"message: *|(?:pb_utils\.)?TritonModelException: *|TritonError: *)+"
)
SERVER_PATH = re.compile(r"(?<![\w./])/(?:[\w.+@-]+/)+[\w.+@-]*")
# gRPC says UNAVAILABLE both when nobody is there and when the server has no room.
CONNECTION = re.compile(r"connect|socket|resolution|resolve|http|recvmsg|sendmsg|reset|closed|goaway|handshake", re.I)
# What a peer of another protocol sends, quoted by the libraries.
BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]|\\x[0-9a-f]{2}")
EVENTS_MODEL = "cascade_events"
BUSY = ("UNAVAILABLE", "429", "502", "503")
TIMED_OUT = ("DEADLINE_EXCEEDED", "499", "504")


@contextmanager
def of_grpc(address: Address, model: str, timeout_s: float) -> Iterator[None]:
    """Turn the exception that tritonclient raises for a failed gRPC call, and no other, into one of ours."""
    from tritonclient.utils import InferenceServerException

    try:
        yield
    except InferenceServerException as error:
        message, status = str(error.message() or ""), str(error.status() or "")
        raise of_triton(message, status, address, model, timeout_s) from error


@contextmanager
def reading(address: Address) -> Iterator[None]:
    """For code that takes an answer apart and sends nothing: what it stumbles over is in the answer."""
    from tritonclient.utils import InferenceServerException

    try:
        yield
    except InferenceServerException as error:
        raise not_cascade(address, sentence_of(str(error.message() or ""))) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error) as error:
        raise not_cascade(address, f"{type(error).__name__}: {error}") from error


def of_triton(message: str, status: str, address: Address, model: str, timeout_s: float) -> CascadeClientError:
    """The error for what Triton, or gRPC in its name, says.

    Args:
        message: its words.
        status: of HTTP ("503"), or the name of a gRPC code ("StatusCode.UNAVAILABLE").
        address: who said so.
        model: its name on the server.
        timeout_s: how long the caller wanted to wait.
    """
    code = status.rpartition(".")[2]
    if "is not ready" in message or "has no available versions" in message:
        return Unavailable(_no_model(address, model))
    if "unknown model" in message:
        return WrongServer(_no_model(address, model))
    if "Stub process" in message:
        return Unavailable(
            f"the server at {address} has lost a process of its model; `cascade serve` replaces it within seconds: ask "
            "again"
        )
    if code in TIMED_OUT:
        return too_slow(address, timeout_s)
    if code == "CANCELLED" or "http1.x server" in message or (code in BUSY and CONNECTION.search(message)):
        return cannot_reach(address, sentence_of(message))
    if code == "UNIMPLEMENTED":
        return not_cascade(address, f"{code}: {sentence_of(message)}")
    if code in BUSY:
        return Unavailable(f"the server at {address} cannot answer now: {sentence_of(message)}")
    if "deserializing response" in message:
        return not_cascade(address, sentence_of(message))
    return RequestRefused(sentence_of(message) or f"the server refused the request without a reason (status {status})")


def of_status(status: int, address: Address, timeout_s: float) -> CascadeClientError:
    """The error for an HTTP status without words of Triton's: of a proxy, or of another server."""
    if str(status) in TIMED_OUT:
        return too_slow(address, timeout_s)
    found = not_cascade(address, f"HTTP status {status}")
    return Unavailable(str(found)) if str(status) in BUSY else found


def not_cascade(address: object, why: str) -> WrongServer:
    """The error for an answer that is not one of a Cascade server."""
    return WrongServer(
        f"{address} answered, but not as a Cascade server does ({why:.300}); check that the address is a server of "
        "`cascade serve`, of this version, and that no proxy stands between"
    )


def too_slow(address: Address, timeout_s: float, before: Exception | None = None) -> Timeout:
    """The error for a connection without an answer; `before`: what an earlier try of the same call was told."""
    remedy = "check the address, or allow more time" if before is None else f"an earlier try was told: {before}"
    return Timeout(f"no answer from {address} within {timeout_s:g} s; {remedy}")


def cannot_reach(address: Address, why: str) -> CannotReach:
    """The error for no connection, or a broken one."""
    ports = "gRPC is port 8001 and HTTP port 8000 unless they were changed"
    # What a peer of another protocol sends is quoted by the libraries, bytes and all.
    words = "what answers there speaks another protocol" if BINARY.search(why) else why
    return CannotReach(f"no Cascade server was reached at {address} ({words}); start one with `cascade serve`; {ports}")


def _no_model(address: Address, model: str) -> str:
    remedy = (
        "add [stream] to its config, export and start it again"
        if model == EVENTS_MODEL
        else "start it with `cascade serve`"
    )
    return f"the server at {address} serves no model '{model}'; {remedy}"


def sentence_of(message: str) -> str:
    """The model's own words: first line, no Triton prefixes, no traceback, no path of the server."""
    first = PREFIXES.sub("", message.strip()).split("\n", 1)[0].strip()
    return SERVER_PATH.sub("(a file of the server)", first)
