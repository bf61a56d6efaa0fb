"""What a cache of slates asks a server: which version it serves, and slates of users that the cache has none of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_client.client import CascadeClient
from cascade_client.errors import CannotReach, CascadeClientError, Timeout, Unavailable
from cascade_client.request import explores
from cascade_client.slates import Id, Slate

__all__ = ["ChainSlates"]

USERS_AT_ONCE = 32
# How often the version is asked for, and how long a server that is away is left alone.
VERSION_S, RETRY_S = 1.0, 1.0


class ChainSlates:
    """A server that stands behind a cache.

    Args:
        server: its address, or a client of it, which stays the caller's.
        timeout_s: longest wait for an answer, where it is an address.
    """

    def __init__(self, server: str | CascadeClient, timeout_s: float) -> None:
        self._is_own = isinstance(server, str)
        self._client = CascadeClient(server, timeout_s=timeout_s, retry=None) if isinstance(server, str) else server
        self._version: str | None = None
        self._version_until = self._away_until = 0.0

    def version(self) -> str | None:
        """The version that is served, as it was known a second ago at most; None while the server is away."""
        now = time.monotonic()
        if now >= self._version_until and now >= self._away_until:
            self._version_until = now + VERSION_S
            try:
                self._version = self._client.served_version
            except CascadeClientError as error:
                self._is_away(error)
                self._version = None
        return self._version

    def slates(
        self,
        user_ids: Sequence[Id],
        excluded: Sequence[Sequence[Id]],
        size: int,
        context: Mapping[str, Sequence[Any]],
    ) -> list[Slate]:
        """Slates of users, made now.

        Raises:
            CascadeClientError: the server is away, or refused the request.
        """
        if time.monotonic() < self._away_until:
            raise Unavailable(f"the server at {self._client.address} was away just now")
        made: list[Slate] = []
        for start in range(0, len(user_ids), USERS_AT_ONCE):
            part = slice(start, start + USERS_AT_ONCE)
            try:
                # Drawn slates would show items twice on the pages that they fill.
                policy = "deterministic" if explores(self._client.inputs) else None
                made += self._client.recommend(
                    user_ids[part],
                    context={name: values[part] for name, values in context.items()},
                    exclude_item_ids=excluded[part],
                    slate_size=size,
                    policy=policy,
                )
            except CascadeClientError as error:
                self._is_away(error)
                raise
        return made

    def close(self) -> None:
        """Close the client, unless it was given."""
        if self._is_own:
            self._client.close()

    def _is_away(self, error: CascadeClientError) -> None:
        if isinstance(error, (CannotReach, Timeout, Unavailable)):
            self._away_until = time.monotonic() + RETRY_S
