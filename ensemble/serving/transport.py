"""tritonclient behind one small interface; its failures become ServingError and RequestError."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, Protocol

import numpy as np

from ensemble.serving.address import Address
from ensemble.serving.tensors import Tensor
from workflows.core.errors import CascadeError, RequestError, ServingError

__all__ = ["Transport", "channel_args", "clear_errors", "connect", "unreadable"]

# What Triton and its Python backend put before the words of the model.
PREFIXES = re.compile(
    r"^(?:\[[^\]]*\] *|in ensemble '[^']*', *|Failed to process the request\(s\) for model(?: instance)? '[^']*', "
    r"message: *|(?:pb_utils\.)?TritonModelException: *|TritonError: *)+"
)
SERVER_PATH = re.compile(r"(?<![\w./])/(?:[\w.+@-]+/)+[\w.+@-]*")
UNREACHABLE = ("CANCELLED",)
BUSY = ("UNAVAILABLE", "502", "503")
# gRPC says UNAVAILABLE both when nobody is there and when the server has no room.
CONNECTION = re.compile(r"connect|socket|resolution|resolve|http|recvmsg|sendmsg|reset|closed|goaway|handshake", re.I)
NOT_TRITON = ("UNIMPLEMENTED",)
UNDECODED = "an exception occurred in the client while decoding the response"
TIMED_OUT = ("DEADLINE_EXCEEDED", "499", "504")


class Transport(Protocol):
    """One connection to one model."""

    def metadata(self) -> dict[str, Any]:
        """The model's `inputs` and `outputs`, each with `name`, `datatype` and `shape`."""

    def infer(self, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Send one request; outputs by name."""

    def close(self) -> None:
        """Close the connection."""


def connect(address: Address, model: str, timeout_s: float) -> Transport:
    """A transport for the address; nothing is sent yet.

    Raises:
        ServingError: tritonclient is not installed.
    """
    try:
        return (GrpcTransport if address.protocol == "grpc" else HttpTransport)(address, model, timeout_s)
    except ImportError as error:
        raise ServingError(
            f"tritonclient for {address.protocol} is not installed ({error}); pip install 'tritonclient[grpc,http]'"
        ) from None


class GrpcTransport:
    """The gRPC protocol. May be shared between threads."""

    def __init__(self, address: Address, model: str, timeout_s: float) -> None:
        import tritonclient.grpc as triton

        self._triton, self._address, self._model, self._timeout_s = triton, address, model, timeout_s
        self._client = triton.InferenceServerClient(address.host_and_port, channel_args=channel_args(address))

    def metadata(self) -> dict[str, Any]:
        """See Transport."""
        with clear_errors(self._address, self._model, self._timeout_s):
            return dict(self._client.get_model_metadata(self._model, as_json=True, client_timeout=self._timeout_s))

    def infer(self, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """See Transport."""
        with clear_errors(self._address, self._model, self._timeout_s):
            inputs = _inputs(self._triton.InferInput, tensors)
            result = self._client.infer(self._model, inputs, client_timeout=self._timeout_s)
            return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    def close(self) -> None:
        """See Transport."""
        self._client.close()


class HttpTransport:
    """The HTTP protocol. Not to be shared between threads."""

    def __init__(self, address: Address, model: str, timeout_s: float) -> None:
        import tritonclient.http as triton

        self._triton, self._address, self._model, self._timeout_s = triton, address, model, timeout_s
        self._client = triton.InferenceServerClient(
            address.host_and_port, connection_timeout=timeout_s, network_timeout=timeout_s
        )

    def metadata(self) -> dict[str, Any]:
        """See Transport."""
        with clear_errors(self._address, self._model, self._timeout_s):
            return dict(self._client.get_model_metadata(self._model))

    def infer(self, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """See Transport."""
        with clear_errors(self._address, self._model, self._timeout_s):
            result = self._client.infer(self._model, _inputs(self._triton.InferInput, tensors))
            return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}

    def close(self) -> None:
        """See Transport."""
        self._client.close()


def _inputs(make: Callable[[str, list[int], str], Any], tensors: Sequence[Tensor]) -> list[Any]:
    inputs = []
    for tensor in tensors:
        entry = make(tensor.name, list(tensor.array.shape), tensor.datatype)
        entry.set_data_from_numpy(tensor.array)
        inputs.append(entry)
    return inputs


def channel_args(address: Address) -> list[tuple[str, int]]:
    """No message limits, as tritonclient has it; no proxy between this machine and itself."""
    args = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    if address.host_and_port.startswith(("localhost:", "127.", "[::1]:")):
        args.append(("grpc.enable_http_proxy", 0))
    return args


@contextmanager
def clear_errors(address: Address, model: str, timeout_s: float) -> Iterator[None]:
    """Turn what tritonclient raises into one sentence that says what to do."""
    from tritonclient.utils import InferenceServerException

    try:
        yield
    except CascadeError:
        raise
    except InferenceServerException as error:
        raise _from_triton(str(error.message() or ""), error.status() or "", address, model, timeout_s) from None
    except TimeoutError:
        raise _too_slow(address, timeout_s) from None
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None
    except HTTPException as error:  # the peer does not speak HTTP, or has hung up
        raise _unreachable(address, f"{type(error).__name__}: {error}") from None
    except Exception as error:  # an answer has come: whatever tritonclient stumbles over is in it
        raise unreadable(address, f"{type(error).__name__}: {error}") from None


def _from_triton(message: str, status: str, address: Address, model: str, timeout_s: float) -> CascadeError:
    code = status.rpartition(".")[2]
    if "unknown model" in message or "is not ready" in message or "has no available versions" in message:
        return ServingError(f"the server at {address} serves no model '{model}'; start it with `cascade serve`")
    if "protocol is restricted" in message:
        return ServingError(f"the server at {address} refused the admin key; set CASCADE_ADMIN_KEY as it was set there")
    if "Stub process" in message:
        return ServingError(
            f"the server at {address} has lost a process of its model; `cascade serve` replaces it within seconds: ask "
            "again"
        )
    if code in TIMED_OUT:
        return _too_slow(address, timeout_s)
    if code in UNREACHABLE or "http1.x server" in message or (code in BUSY and CONNECTION.search(message)):
        return _unreachable(address, _sentence(message))
    if code in NOT_TRITON or UNDECODED in message:
        what = f"HTTP status {code}" if code.isdigit() else f"{code}: {_sentence(message)}"
        return unreadable(address, what)
    if code in BUSY:
        return ServingError(f"the server at {address} cannot answer now: {_sentence(message)}")
    if "deserializing response" in message or "Failed to encode using UTF-8" in message:
        return unreadable(address, _sentence(message))
    return RequestError(_sentence(message) or f"the server refused the request without a reason (status {status})")


def unreadable(address: Address, why: str) -> ServingError:
    """The error for an answer that is not one of a Cascade server."""
    return ServingError(
        f"{address} answered, but not as a Cascade server does ({why:.300}); check that the address is a server of "
        "`cascade serve`, of this version, and that no proxy stands between"
    )


def _too_slow(address: Address, timeout_s: float) -> ServingError:
    return ServingError(f"no answer from {address} within {timeout_s:g} s; check the address, or allow more time")


def _unreachable(address: Address, why: str) -> ServingError:
    ports = "gRPC is port 8001 and HTTP port 8000 unless they were changed"
    return ServingError(f"no Cascade server was reached at {address} ({why}); start one with `cascade serve`; {ports}")


def _sentence(message: str) -> str:
    """The model's own words: first line, no Triton prefixes, no traceback, no path of the server."""
    first = PREFIXES.sub("", message.strip()).split("\n", 1)[0].strip()
    return SERVER_PATH.sub("(a file of the server)", first)
