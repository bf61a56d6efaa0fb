"""Slates in Redis or Valkey, for readers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import redis

from cascade_client.slate_entry import BLOCKED, CURRENT, entry_key, meta_key
from cascade_client.slate_stores import CacheAway, CacheUrl, Found

__all__ = ["PREFIX", "RedisSlates", "connect_redis"]

PREFIX = "cascade"


def connect_redis(url: CacheUrl, timeout_s: float) -> tuple[Any, bytes]:
    """A client of the server, and what its keys begin with; nothing is sent yet."""
    client = redis.Redis.from_url(url.place, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    return client, f"{url.options.get('prefix', PREFIX)}:slates:".encode()


class RedisSlates:
    """See SlateStore.

    Args:
        url: of the server.
        timeout_s: longest wait for it.
    """

    def __init__(self, url: CacheUrl, timeout_s: float) -> None:
        self._url = url
        self._client, self._prefix = connect_redis(url, timeout_s)
        # The version that was read last: most often it is still the one.
        self._version = ""

    def read(self, users: Sequence[bytes]) -> Found:
        """See SlateStore; one round trip, two when another version is there."""
        try:
            for _ in range(3):
                version = self._version
                keys = [meta_key(CURRENT), meta_key(BLOCKED), *(entry_key(version, user) for user in users)]
                current, blocked, *entries = self._client.mget([self._prefix + key for key in keys])
                if current is None:
                    return Found(None, [None] * len(users))
                self._version = str(json.loads(current)["version"])
                if self._version == version:
                    return Found(current, entries, blocked)
        except (redis.RedisError, OSError, ValueError, KeyError) as error:
            raise CacheAway(f"the cache of slates in {self._url} cannot be read ({_why(error)})") from error
        raise CacheAway(f"the cache of slates in {self._url} changes its version too often")

    def close(self) -> None:
        """See SlateStore."""
        self._client.close()


def _why(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__
