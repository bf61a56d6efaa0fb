"""From the URL of a cache to the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cascade_client.errors import BadSetting
from cascade_client.slate_stores import parse_cache_url
from ensemble.slates.cache.base import Cache
from workflows.core.errors import ConfigError, SetupError

__all__ = ["open_cache"]


@contextmanager
def open_cache(url: str, *, create: bool = False) -> Iterator[Cache]:
    """A cache to write to, for the time of a with block.

    Args:
        url: `lmdb:DIR`, `redis://...` or `dynamodb://TABLE`.
        create: whether it is made where it is absent.

    Raises:
        ConfigError: it is none of these.
        SetupError: the package for it is not installed.
        ServingError: it is absent or does not answer.
    """
    try:
        parsed = parse_cache_url(url)
    except BadSetting as error:
        raise ConfigError(f"--cache: {error}") from error
    try:
        if parsed.kind == "lmdb":
            from ensemble.slates.cache.lmdb import LmdbCache

            cache: Cache = LmdbCache(parsed, create=create)
        elif parsed.kind == "dynamodb":
            from ensemble.slates.cache.dynamodb import DynamoCache

            cache = DynamoCache(parsed, create=create)
        else:
            from ensemble.slates.cache.redis import RedisCache

            cache = RedisCache(parsed)
    except ImportError as error:
        extra = {"lmdb": "stream", "rediss": "redis"}.get(parsed.kind, parsed.kind)
        raise SetupError(
            f"a cache in {parsed.kind} needs the package {error.name}; in the folder of Cascade: "
            f"uv pip install '.[{extra}]'"
        ) from error
    try:
        yield cache
    finally:
        cache.close()
