"""Slates in a DynamoDB table: many web servers, nothing to run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from cascade_client.slate_stores import CacheUrl
from ensemble.slates.cache.base import LOCK_S, Item, away, busy
from workflows.core.errors import CascadeError

__all__ = ["DynamoCache"]

TIMEOUT_S = 10.0
# What one call may write.
MOST_WRITTEN = 25
TRIES, LONGEST_WAIT_S = 12, 5.0
# The attribute after which DynamoDB removes an item, in seconds since 1970; an entry is served until it expires.
EXPIRES, KEPT_S = "x", 60


class DynamoCache:
    """See Cache.

    Args:
        url: names the table.
        create: whether the table is made where it is absent.

    Raises:
        ServingError: the service does not answer, or there is no such table.
    """

    def __init__(self, url: CacheUrl, *, create: bool) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        from cascade_client.store_dynamodb import KEY, VALUE, connect_dynamodb

        self._url, self._table, self._key, self._value = url, url.place, KEY, VALUE
        self._error: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
        self._held: dict[bytes, tuple[bytes, float]] = {}
        try:
            self._client = connect_dynamodb(url, TIMEOUT_S)
            if not self._is_there():
                if not create:
                    raise away(url, "there is no such table; `cascade slates build` makes one")
                self._create()
        except self._error as error:
            raise away(url, error) from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Cache."""
        from cascade_client.store_dynamodb import get_items

        try:
            found = get_items(self._client, self._table, keys)
        except self._error as error:
            raise away(self._url, error) from error
        return [found.get(key) for key in keys]

    def put(self, items: Sequence[Item]) -> None:
        """See Cache; in parts of 25."""
        try:
            for start in range(0, len(items), MOST_WRITTEN):
                latest = {item.key: item for item in items[start : start + MOST_WRITTEN]}
                self._write([self._request(item) for item in latest.values()])
            self._renew()
        except self._error as error:
            raise away(self._url, error) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Cache; the whole table is read, so it costs what that costs."""
        try:
            for page in self._client.get_paginator("scan").paginate(TableName=self._table):
                for item in page["Items"]:
                    key = bytes(item[self._key]["B"])
                    if key.startswith(prefix):
                        yield key, bytes(item[self._value]["B"])
        except self._error as error:
            raise away(self._url, error) from error

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """See Cache; a holder that was killed stands in the way for LOCK_S."""
        key, token = f"l{name}".encode(), uuid.uuid4().hex.encode()
        self._take(key, token, name)
        try:
            yield
        finally:
            self._held.pop(key, None)
            # It expires by itself where it cannot be given back.
            with suppress(*self._error):
                self._client.delete_item(
                    TableName=self._table, Key={self._key: {"B": key}}, **self._only_if("#v = :t", token)
                )

    def close(self) -> None:
        """See Cache."""
        self._client.close()

    def _take(self, key: bytes, token: bytes, name: str) -> None:
        condition = self._only_if("attribute_not_exists(#v) OR #v = :t OR #x < :n", token)
        condition["ExpressionAttributeNames"]["#x"] = EXPIRES
        condition["ExpressionAttributeValues"][":n"] = {"N": str(int(time.time()))}
        item = {self._key: {"B": key}, self._value: {"B": token}, EXPIRES: {"N": str(int(time.time() + LOCK_S))}}
        try:
            self._client.put_item(TableName=self._table, Item=item, **condition)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise busy(self._url, name, f", or was killed less than {LOCK_S:.0f} s ago") from None
        except self._error as error:
            raise away(self._url, error) from error
        self._held[key] = token, time.monotonic()

    def _only_if(self, condition: str, token: bytes) -> dict[str, Any]:
        return {
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#v": self._value},
            "ExpressionAttributeValues": {":t": {"B": token}},
        }

    def _renew(self) -> None:
        for key, (token, since) in list(self._held.items()):
            if time.monotonic() - since > LOCK_S / 6:
                self._take(key, token, key[1:].decode())

    def _request(self, item: Item) -> dict[str, Any]:
        if item.value is None:
            return {"DeleteRequest": {"Key": {self._key: {"B": item.key}}}}
        attributes: dict[str, Any] = {self._key: {"B": item.key}, self._value: {"B": item.value}}
        if item.expires_ms is not None:
            attributes[EXPIRES] = {"N": str(item.expires_ms // 1000 + KEPT_S)}
        return {"PutRequest": {"Item": attributes}}

    def _write(self, requests: list[dict[str, Any]]) -> None:
        """Write a part; what the service has no room for now is sent again, later and later."""
        wait_s = 0.05
        for _ in range(TRIES):
            answer = self._client.batch_write_item(RequestItems={self._table: requests})
            requests = answer.get("UnprocessedItems", {}).get(self._table, [])
            if not requests:
                return
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        raise CascadeError(
            f"the table {self._table} takes no more writes now; raise its capacity and run the same command again"
        )

    def _is_there(self) -> bool:
        try:
            self._client.describe_table(TableName=self._table)
        except self._client.exceptions.ResourceNotFoundException:
            return False
        return True

    def _create(self) -> None:
        self._client.create_table(
            TableName=self._table,
            KeySchema=[{"AttributeName": self._key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": self._key, "AttributeType": "B"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._client.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1})
        ttl = {"Enabled": True, "AttributeName": EXPIRES}
        self._client.update_time_to_live(TableName=self._table, TimeToLiveSpecification=ttl)
