"""gRPC from threads and from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np

from cascade_client.address import Address
from cascade_client.failures import cannot_reach, of_grpc, reading
from cascade_client.tensors import Tensor

__all__ = ["AsyncGrpcTransport", "GrpcTransport", "channel_args"]

# A server that comes back is found within this time, and not within gRPC's own two minutes.
RECONNECT_MS = (100, 1000)


def channel_args(address: Address, connect_timeout_s: float | None = None) -> list[tuple[str, int]]:
    """No message limits, as tritonclient has it; no proxy between this machine and itself; quick to connect again.

    Args:
        address: of the server.
        connect_timeout_s: longest wait for a connection; gRPC's own 20 s where it is absent.
    """
    args = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    args += [("grpc.initial_reconnect_backoff_ms", RECONNECT_MS[0]), ("grpc.max_reconnect_backoff_ms", RECONNECT_MS[1])]
    if connect_timeout_s is not None:
        args.append(("grpc.min_reconnect_backoff_ms", max(1, round(connect_timeout_s * 1000))))
    if address.is_local:
        args.append(("grpc.enable_http_proxy", 0))
    return args


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
        self._client = triton.InferenceServerClient(address.host_and_port, channel_args=args)

    def metadata(self, timeout_s: float) -> Any:
        """See Transport."""
        with of_grpc(self._address, self._model, timeout_s):
            return self._client.get_model_metadata(self._model, as_json=True, client_timeout=timeout_s)

    def infer(
        self, tensors: Sequence[Tensor], timeout_s: float, parameters: Mapping[str, str] | None = None
    ) -> dict[str, np.ndarray]:
        """See Transport."""
        inputs = _inputs(self._triton.InferInput, tensors)
        with of_grpc(self._address, self._model, timeout_s):
            result = self._client.infer(
                self._model, inputs, client_timeout=timeout_s, parameters=dict(parameters or {})
            )
        return _outputs(result, self._address)

    def close(self) -> None:
        """See Transport."""
        self._client.close()


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
        self._args = channel_args(address, connect_timeout_s)
        self._client: Any = None
        self._closed = False

    async def metadata(self, timeout_s: float) -> Any:
        """See AsyncTransport."""
        client = self._connected()
        return await self._call(
            client.get_model_metadata(self._model, as_json=True, client_timeout=timeout_s), timeout_s
        )

    async def infer(
        self, tensors: Sequence[Tensor], timeout_s: float, parameters: Mapping[str, str] | None = None
    ) -> dict[str, np.ndarray]:
        """See AsyncTransport."""
        inputs = _inputs(self._triton.InferInput, tensors)
        client = self._connected()
        result = await self._call(
            client.infer(self._model, inputs, client_timeout=timeout_s, parameters=dict(parameters or {})), timeout_s
        )
        return _outputs(result, self._address)

    async def close(self) -> None:
        """See AsyncTransport."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    def _connected(self) -> Any:
        if self._client is None:  # needs the running loop
            self._client = self._triton.InferenceServerClient(self._address.host_and_port, channel_args=self._args)
        return self._client

    async def _call(self, call: Any, timeout_s: float) -> Any:
        try:
            with of_grpc(self._address, self._model, timeout_s):
                return await call
        except asyncio.CancelledError as error:
            if not self._closed:
                raise
            # gRPC cancels what is under way when its channel is closed; nobody cancelled this task.
            raise cannot_reach(self._address, "the client was closed") from error


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
