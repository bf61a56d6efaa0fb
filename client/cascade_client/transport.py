"""One small interface for both protocols: ask for the metadata, send a request, close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cascade_client.address import Address
from cascade_client.errors import BadSetting
from cascade_client.exchange import CONNECT_TIMEOUT_S, MODEL_NAME
from cascade_client.tensors import Tensor

__all__ = ["AsyncTransport", "Transport", "connect", "connect_async"]


class Transport(Protocol):
    """A way to one model; for threads."""

    def metadata(self, timeout_s: float) -> Any:
        """The model's `inputs` and `outputs`, each with `name`, `datatype` and `shape`."""

    def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """Send one request, with parameters by name and its id, if any; outputs by name."""

    def close(self) -> None:
        """Close the connections."""


class AsyncTransport(Protocol):
    """The same for asyncio."""

    async def metadata(self, timeout_s: float) -> Any:
        """See Transport."""

    async def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """See Transport."""

    async def close(self) -> None:
        """See Transport."""


def connect(address: Address, model: str = MODEL_NAME, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Transport:
    """A transport for the address; nothing is sent yet.

    Raises:
        BadSetting: tritonclient is not installed for the address's protocol.
    """
    try:
        if address.protocol == "grpc":
            from cascade_client.grpc_channel import GrpcTransport

            return GrpcTransport(address, model, connect_timeout_s)
        from cascade_client.http_sync import HttpTransport

        return HttpTransport(address, model, connect_timeout_s)
    except (ImportError, RuntimeError) as error:
        raise _not_installed(address, error) from error


def connect_async(address: Address, model: str, connect_timeout_s: float) -> AsyncTransport:
    """The same for asyncio; needs no running loop yet.

    Raises:
        BadSetting: see connect.
    """
    try:
        if address.protocol == "grpc":
            from cascade_client.grpc_channel import AsyncGrpcTransport

            return AsyncGrpcTransport(address, model, connect_timeout_s)
        from cascade_client.http_async import AsyncHttpTransport

        return AsyncHttpTransport(address, model, connect_timeout_s)
    except (ImportError, RuntimeError) as error:
        raise _not_installed(address, error) from error


def _not_installed(address: Address, error: Exception) -> BadSetting:
    return BadSetting(
        f"tritonclient for {address.protocol} is not installed ({error}); pip install 'tritonclient[grpc,http]'"
    )
