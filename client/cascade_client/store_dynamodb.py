"""Slates in a DynamoDB table, for readers."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cascade_client.slate_entry import BLOCKED, CURRENT, entry_key, meta_key
from cascade_client.slate_stores import CacheAway, CacheUrl, Found

__all__ = ["KEY", "VALUE", "DynamoSlates", "connect_dynamodb", "get_items"]

# The attributes of an item of the table: its key and its value.
KEY, VALUE = "k", "v"
# What one call may ask for.
MOST_READ = 100
TRIES = 5


def connect_dynamodb(url: CacheUrl, timeout_s: float) -> Any:
    """A client of the service; credentials and region are found as those of every AWS program."""
    settings = Config(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 2})
    return boto3.session.Session().client(
        "dynamodb",
        endpoint_url=url.options.get("endpoint"),
        region_name=url.options.get("region"),
        config=settings,
    )


def get_items(client: Any, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Values by key, of those that are there."""
    found: dict[bytes, bytes] = {}
    for start in range(0, len(keys), MOST_READ):
        wanted: list[dict[str, Any]] = [{KEY: {"B": key}} for key in dict.fromkeys(keys[start : start + MOST_READ])]
        for _ in range(TRIES):
            answer = client.batch_get_item(RequestItems={table: {"Keys": wanted}})
            for item in answer["Responses"].get(table, []):
                found[bytes(item[KEY]["B"])] = bytes(item[VALUE]["B"])
            wanted = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            if not wanted:
                break
    return found


class DynamoSlates:
    """See SlateStore.

    Args:
        url: of the table.
        timeout_s: longest wait for one call.
    """

    def __init__(self, url: CacheUrl, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._lock, self._clients = threading.Lock(), list[Any]()
        self._version = ""

    def read(self, users: Sequence[bytes]) -> Found:
        """See SlateStore; one call, two when another version is there."""
        try:
            for _ in range(3):
                version = self._version
                keys = [entry_key(version, user) for user in users]
                found = get_items(self._client(), self._url.place, [meta_key(CURRENT), meta_key(BLOCKED), *keys])
                current = found.get(meta_key(CURRENT))
                if current is None:
                    return Found(None, [None] * len(users))
                self._version = str(json.loads(current)["version"])
                if self._version == version:
                    return Found(current, [found.get(key) for key in keys], found.get(meta_key(BLOCKED)))
        except (BotoCoreError, ClientError, OSError, ValueError, KeyError) as error:
            raise CacheAway(f"the cache of slates in {self._url} cannot be read ({error})") from error
        raise CacheAway(f"the cache of slates in {self._url} changes its version too often")

    def close(self) -> None:
        """See SlateStore."""
        for client in self._clients:
            client.close()

    def _client(self) -> Any:
        with self._lock:
            if not self._clients:
                self._clients.append(connect_dynamodb(self._url, self._timeout_s))
            return self._clients[0]
