"""gRPC from threads and from asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np

from cascade_client.address import Address
from cascade_client.errors import CannotReach, Timeout
from cascade_client.failures import cannot_reach, of_grpc, reading
from cascade_client.tensors import Tensor

__all__ = ["AsyncGrpcTransport", "GrpcTransport", "channel_args"]

# A server that comes back is found within this time, and not within gRPC's own two minutes.
RECONNECT_MS = (100, 1000)
# gRPC's channel to a name of several addresses, such as localhost, may miss for minutes that a server came back: one
# that has not reached it for so long is made anew.
CHANNEL_S = 5.0


def channel_args(address: Address, connect_timeout_s: float | None = None) -> list[tuple[str, int]]:
    """No message limits, as tritonclient has it; no proxy between this machine and itself; quick to connect again.

    Args:
        address: of the server.
        connect_timeout_s: longest wait for a connection; gRPC's own 20 s where it is absent.
    """
    args = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    # A new channel shares nothing with the one before it.
    args += [("grpc.use_local_subchannel_pool", 1)]
    args += [("grpc.initial_reconnect_backoff_ms", RECONNECT_MS[0]), ("grpc.max_reconnect_backoff_ms", RECONNECT_MS[1])]
    if connect_timeout_s is not None:
        args.append(("grpc.min_reconnect_backoff_ms", max(1, round(connect_timeout_s * 1000))))
    if address.is_local:
        args.append(("grpc.enable_http_proxy", 0))
    return args


class _Channel:
    """A client of tritonclient, and another in its place where it has not reached the server for long.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._client: Any = None
        self._good_at = 0.0

    def client(self) -> Any:
        """The client of now."""
        with self._lock:
            if self._client is None:
                self._client, self._good_at = self._make(), time.monotonic()
            return self._client

    def reached(self, client: Any) -> None:
        """Note that a client has reached the server."""
        if client is self._client:
            self._good_at = time.monotonic()

    def missed(self, client: Any) -> None:
        """Note that it has not. Calls under way keep theirs; nobody closes it under their hands."""
        with self._lock:
            if client is self._client and time.monotonic() - self._good_at > CHANNEL_S:
                self._client = None

    def current(self) -> Any:
        """The client, to close it; None where there is none."""
        return self._client


class GrpcTransport:
    """The gRPC protocol. May be shared between threads.

    Args:
        address: of the server.
        model: its name on the server.
        connect_timeout_s: longest wait for a connection.
    """

    def __init__(self, address: Address, model: str, connect_timeout_s: float) -> None:
        import tritonclient.grpc as triton

        self._triton, self._address, self._model = triton, address, model
        args = channel_args(address, connect_timeout_s)
        self._channel = _Channel(lambda: triton.InferenceServerClient(address.host_and_port, channel_args=args))

    def metadata(self, timeout_s: float) -> Any:
        """See Transport."""
        return self._call(
            lambda client: client.get_model_metadata(self._model, as_json=True, client_timeout=timeout_s), timeout_s
        )

    def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """See Transport."""
        inputs, given = _inputs(self._triton.InferInput, tensors), dict(parameters or {})
        result = self._call(
            lambda client: client.infer(
                self._model, inputs, request_id=request_id, client_timeout=timeout_s, parameters=given
            ),
            timeout_s,
        )
        return _outputs(result, self._address)

    def close(self) -> None:
        """See Transport."""
        if (client := self._channel.current()) is not None:
            client.close()

    def _call(self, call: Callable[[Any], Any], timeout_s: float) -> Any:
        client = self._channel.client()
        try:
            with of_grpc(self._address, self._model, timeout_s):
                answer = call(client)
        except (CannotReach, Timeout):
            self._channel.missed(client)
            raise
        self._channel.reached(client)
        return answer


class AsyncGrpcTransport:
    """The gRPC protocol for one event loop.

    Args:
        address: of the server.
        model: its name on the server.
        connect_timeout_s: longest wait for a connection.
    """

    def __init__(self, address: Address, model: str, connect_timeout_s: float) -> None:
        import tritonclient.grpc.aio as triton

        self._triton, self._address, self._model = triton, address, model
        args = channel_args(address, connect_timeout_s)
        # Made at the first call: it needs the running loop.
        self._channel = _Channel(lambda: triton.InferenceServerClient(address.host_and_port, channel_args=args))
        self._closed = False

    async def metadata(self, timeout_s: float) -> Any:
        """See AsyncTransport."""
        return await self._call(
            lambda client: client.get_model_metadata(self._model, as_json=True, client_timeout=timeout_s), timeout_s
        )

    async def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """See AsyncTransport."""
        inputs, given = _inputs(self._triton.InferInput, tensors), dict(parameters or {})
        result = await self._call(
            lambda client: client.infer(
                self._model, inputs, request_id=request_id, client_timeout=timeout_s, parameters=given
            ),
            timeout_s,
        )
        return _outputs(result, self._address)

    async def close(self) -> None:
        """See AsyncTransport."""
        self._closed = True
        if (client := self._channel.current()) is not None:
            await client.close()

    async def _call(self, call: Callable[[Any], Any], timeout_s: float) -> Any:
        client = self._channel.client()
        try:
            with of_grpc(self._address, self._model, timeout_s):
                answer = await call(client)
        except asyncio.CancelledError as error:
            if not self._closed:
                raise
            # gRPC cancels what is under way when its channel is closed; nobody cancelled this task.
            raise cannot_reach(self._address, "the client was closed") from error
        except (CannotReach, Timeout):
            self._channel.missed(client)
            raise
        self._channel.reached(client)
        return answer


def _inputs(make: Callable[[str, list[int], str], Any], tensors: Sequence[Tensor]) -> list[Any]:
    inputs = []
    for tensor in tensors:
        entry = make(tensor.name, list(tensor.array.shape), tensor.datatype)
        entry.set_data_from_numpy(tensor.array)
        inputs.append(entry)
    return inputs


def _outputs(result: Any, address: Address) -> dict[str, np.ndarray]:
    with reading(address):
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}
