"""Where slates are cached, for readers: an LMDB folder, a Redis server or a DynamoDB table, by one URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from cascade_client.errors import BadSetting, CascadeClientError

__all__ = ["CacheAway", "CacheUrl", "Found", "SlateStore", "open_store", "parse_cache_url"]

KINDS = ("lmdb", "redis", "rediss", "dynamodb")
EXPECTED = "lmdb:DIR, redis://HOST:PORT/DB or dynamodb://TABLE"
OPTIONS = {
    "lmdb": (),
    "redis": ("prefix",),
    "rediss": ("prefix",),
    "dynamodb": ("endpoint", "region"),
}


class CacheAway(CascadeClientError):
    """The cache of slates cannot be reached, opened or read now."""


class CacheUrl(NamedTuple):
    """Where a cache is.

    Attributes:
        kind: lmdb, redis, rediss or dynamodb.
        place: the folder, the server's URL without options, or the table.
        options: by name; `prefix` of the keys in Redis, `endpoint` and `region` of DynamoDB.
    """

    kind: str
    place: str
    options: dict[str, str]

    def __str__(self) -> str:
        """Without a password, for people."""
        if not self.kind.startswith("redis"):
            return f"{self.kind}:{'' if self.kind == 'lmdb' else '//'}{self.place}"
        parts = urlsplit(self.place)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Found(NamedTuple):
    """What a cache answers.

    Attributes:
        current: JSON of the version that is read; None where nothing was built yet.
        entries: of the users that were asked for, in that version.
        blocked: JSON list of the items that no slate may show; None for none.
    """

    current: bytes | None
    entries: list[bytes | None]
    blocked: bytes | None = None


class SlateStore(Protocol):
    """A cache as its readers need it; may be shared between threads, and used after a fork."""

    def read(self, users: Sequence[bytes]) -> Found:
        """The version that is read, and what it has for users by key.

        Raises:
            CacheAway: it cannot be reached or read.
        """

    def close(self) -> None:
        """Close the connections."""


def parse_cache_url(url: str) -> CacheUrl:
    """Read `lmdb:DIR`, `redis://...` or `dynamodb://TABLE`.

    Raises:
        BadSetting: it is none of these, or has an option that the kind does not know.

    Example:
        >>> parse_cache_url("dynamodb://slates?region=eu-west-1")
        CacheUrl(kind='dynamodb', place='slates', options={'region': 'eu-west-1'})
    """
    kind, colon, rest = url.partition(":")
    if kind not in KINDS or not colon:
        raise BadSetting(f"a cache of slates must be {EXPECTED}, got '{url}'")
    if kind == "lmdb":
        folder = rest[2:] if rest.startswith("//") else rest
        if not folder:
            raise BadSetting("a cache of slates in LMDB needs a folder, like lmdb:slates, got 'lmdb:'")
        return CacheUrl(kind, folder, {})
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadSetting(f"a cache of slates must be {EXPECTED}; the port must be a number from 1 to 65535") from None
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = sorted(set(options) - set(OPTIONS[kind]))
    if unknown or not parts.hostname or (kind == "dynamodb" and (parts.path or port)):
        said = (
            f"it knows no option '{unknown[0]}', only {' and '.join(OPTIONS[kind])}" if unknown else "a name is missing"
        )
        raise BadSetting(f"a cache of slates must be {EXPECTED}; {said}")
    place = parts.netloc if kind == "dynamodb" else parts._replace(query="").geturl()
    return CacheUrl(kind, place, options)


def open_store(url: CacheUrl, timeout_s: float) -> SlateStore:
    """A reader of a cache; nothing is opened or asked before the first read.

    Raises:
        BadSetting: the package for this kind of cache is not installed.
    """
    try:
        if url.kind == "lmdb":
            from cascade_client.store_lmdb import LmdbSlates

            return LmdbSlates(url.place)
        if url.kind == "dynamodb":
            from cascade_client.store_dynamodb import DynamoSlates

            return DynamoSlates(url, timeout_s)
        from cascade_client.store_redis import RedisSlates

        return RedisSlates(url, timeout_s)
    except ImportError as error:
        extra = "redis" if url.kind == "rediss" else url.kind
        raise BadSetting(
            f"a cache in {extra} needs the package {error.name}; install cascade-client[{extra}]"
        ) from error
