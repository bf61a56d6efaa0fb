"""What every cache of slates can do: keys and values, written in order, and one holder at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from cascade_client.slate_stores import CacheUrl
from workflows.core.errors import ServingError

__all__ = ["LOCK_S", "Cache", "Item", "away", "busy"]

# How long a holder on another machine that is gone stands in the way.
LOCK_S = 60.0


class Item(NamedTuple):
    """A value under a key; None removes what is there. `expires_ms` since 1970: it may be removed then."""

    key: bytes
    value: bytes | None
    expires_ms: int | None = None


class Cache(Protocol):
    """A cache of slates as its writers need it."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values by key; None where there is none.

        Raises:
            ServingError: (every method) the cache cannot be reached, read or written.
        """

    def put(self, items: Sequence[Item]) -> None:
        """Write items in their order: none is there before one that comes before it.

        Raises:
            CascadeError: the disk or the server is full.
        """

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All keys that start with this and their values, in any order; what is written meanwhile may be missed."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Be the only one who holds the cache under this name, for the time of a with block.

        Raises:
            ServingError: another process holds it.
        """

    def close(self) -> None:
        """Close the connections."""


def away(url: CacheUrl, error: object) -> ServingError:
    """The error for a cache that does not answer."""
    said = str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__
    return ServingError(f"the cache {url} cannot be used ({said}); start it, or give another --cache")


def busy(url: CacheUrl, name: str, killed: str = "") -> ServingError:
    """The error for a cache that another process holds."""
    return ServingError(f"another `cascade slates {name}` writes to the cache {url}{killed}; wait until it is done")
