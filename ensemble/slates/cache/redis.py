"""Slates in Redis or Valkey: many web servers, each with its own connection."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from cascade_client.slate_stores import CacheUrl
from ensemble.slates.cache.base import LOCK_S, Item, away, busy
from workflows.core.errors import CascadeError, ServingError

__all__ = ["RedisCache"]

TIMEOUT_S = 10.0
SCANNED_AT_ONCE = 1024
# An entry is served until it expires, and removed by Redis a while later.
KEPT_MS = 60_000
# Removes a lock that is still ours.
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
SPECIAL = b"\\*?[]"


class RedisCache:
    """See Cache.

    Args:
        url: of the server.

    Raises:
        ServingError: it does not answer.
    """

    def __init__(self, url: CacheUrl) -> None:
        import redis

        from cascade_client.store_redis import connect_redis

        self._url, self._error = url, (redis.RedisError, OSError)
        self._client, self._prefix = connect_redis(url, TIMEOUT_S)
        self._held: dict[bytes, tuple[bytes, float]] = {}
        try:
            self._client.ping()
        except self._error as error:
            raise self._failed(error) from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Cache."""
        try:
            return list(self._client.mget([self._prefix + key for key in keys])) if keys else []
        except self._error as error:
            raise self._failed(error) from error

    def put(self, items: Sequence[Item]) -> None:
        """See Cache; all or nothing."""
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                for item in items:
                    key = self._prefix + item.key
                    if item.value is None:
                        pipeline.delete(key)
                    else:
                        kept_until = None if item.expires_ms is None else item.expires_ms + KEPT_MS
                        pipeline.set(key, item.value, pxat=kept_until)
                pipeline.execute()
            self._renew()
        except self._error as error:
            raise self._failed(error) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Cache."""
        escaped = b"".join((b"\\" if byte in SPECIAL else b"") + bytes([byte]) for byte in self._prefix + prefix)
        try:
            keys = iter(self._client.scan_iter(match=escaped + b"*", count=SCANNED_AT_ONCE))
            while part := list(islice(keys, SCANNED_AT_ONCE)):
                for key, value in zip(part, self._client.mget(part), strict=True):
                    if value is not None:
                        yield key[len(self._prefix) :], value
        except self._error as error:
            raise self._failed(error) from error

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """See Cache; a holder that was killed stands in the way for LOCK_S."""
        key, token = self._prefix + f"lock:{name}".encode(), uuid.uuid4().hex.encode()
        try:
            taken = self._client.set(key, token, nx=True, px=int(LOCK_S * 1000))
        except self._error as error:
            raise self._failed(error) from error
        if not taken:
            raise busy(self._url, name, f", or was killed less than {LOCK_S:.0f} s ago")
        self._held[key] = token, time.monotonic()
        try:
            yield
        finally:
            del self._held[key]
            # It expires by itself where it cannot be given back.
            with suppress(*self._error):
                self._client.eval(RELEASE, 1, key, token)

    def close(self) -> None:
        """See Cache."""
        self._client.close()

    def _renew(self) -> None:
        now = time.monotonic()
        for key, (token, since) in self._held.items():
            if now - since > LOCK_S / 6:
                if self._client.get(key) not in (token, None):
                    raise ServingError(f"another process took over the cache {self._url}; run the command again")
                self._client.set(key, token, px=int(LOCK_S * 1000))
                self._held[key] = token, now

    def _failed(self, error: Any) -> CascadeError:
        if "OOM" in str(error) or "maxmemory" in str(error):
            return CascadeError(
                f"the server of the cache {self._url} has no memory left (maxmemory); give it more, or build for fewer "
                "users with --users active, and run the same command again"
            )
        return away(self._url, error)
