"""HTTP from asyncio: aiohttp's pool of connections, each call bounded by its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cascade_client.address import Address
from cascade_client.failures import cannot_reach, too_slow
from cascade_client.http_codec import HEADER_LENGTH, HttpCodec, Reply
from cascade_client.tensors import Tensor

__all__ = ["AsyncHttpTransport"]


class AsyncHttpTransport:
    """The HTTP protocol for one event loop.

    Args:
        address: of the server.
        model: its name on the server.
        connect_timeout_s: longest wait for a connection.
    """

    def __init__(self, address: Address, model: str, connect_timeout_s: float) -> None:
        import aiohttp

        self._aiohttp, self._address = aiohttp, address
        self._codec = HttpCodec(address, model)
        self._limits = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def metadata(self, timeout_s: float) -> Any:
        """See AsyncTransport."""
        reply = await self._exchange("GET", self._codec.metadata_path, None, {}, timeout_s)
        return self._codec.metadata(reply, timeout_s)

    async def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """See AsyncTransport."""
        body, headers = self._codec.request(tensors, parameters, request_id)
        reply = await self._exchange("POST", self._codec.infer_path, body, headers, timeout_s)
        return self._codec.outputs(reply, timeout_s)

    async def close(self) -> None:
        """See AsyncTransport."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Reply:
        aiohttp = self._aiohttp
        try:
            return await asyncio.wait_for(self._send(method, path, body, headers), timeout_s)
        except aiohttp.ServerTimeoutError as error:  # of the connection; a TimeoutError as well
            raise cannot_reach(self._address, "no connection in time") from error
        except asyncio.TimeoutError as error:
            raise too_slow(self._address, timeout_s) from error
        except aiohttp.ClientConnectorError as error:
            raise cannot_reach(self._address, error.strerror or str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise cannot_reach(self._address, f"{type(error).__name__}: {error}") from error

    async def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        if self._session is None:  # needs the running loop
            connector = self._aiohttp.TCPConnector(limit=0)
            self._session = self._aiohttp.ClientSession(
                connector=connector,
                timeout=self._limits,
                auto_decompress=False,
                cookie_jar=self._aiohttp.DummyCookieJar(),
            )
        url = f"http://{self._address.host_and_port}{path}"
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            return Reply(response.status, response.headers.get(HEADER_LENGTH), await response.read())
