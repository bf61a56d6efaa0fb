"""AsyncCascadeClient with the interface of CascadeClient, so that one test says the same of both."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade_client import AsyncCascadeClient, CascadeClient, Slates

KINDS = ("sync-grpc", "sync-http", "asyncio-grpc", "asyncio-http")


class InLoop:
    """One event loop with one client in it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncCascadeClient(*arguments, **options)

    @property
    def inputs(self) -> dict[str, str]:
        return self._loop.run_until_complete(self._client.inputs())

    @property
    def context_features(self) -> dict[str, str]:
        return self._loop.run_until_complete(self._client.context_features())

    def recommend(self, *arguments: Any, **options: Any) -> Slates:
        return self._loop.run_until_complete(self._client.recommend(*arguments, **options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        # Transports of closed connections end in the next turns of the loop.
        self._loop.run_until_complete(asyncio.sleep(0.05))

    def __enter__(self) -> InLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.close()


def make_client(kind: str, url: str, **options: Any) -> Any:
    """A client of one of KINDS, for a URL without a scheme or of the same protocol."""
    way, _, protocol = kind.partition("-")
    return (InLoop if way == "asyncio" else CascadeClient)(url, protocol, **options)


def url_of(kind: str, server: Any) -> str:
    """The URL of a TritonServer that a kind of client talks to."""
    return str(server.grpc_url if kind.endswith("grpc") else server.http_url)
