"""One exception tree; each error says in one sentence what to do, and keeps what caused it as `__cause__`."""

from __future__ import annotations

__all__ = [
    "BadSetting",
    "CannotReach",
    "CascadeClientError",
    "RequestRefused",
    "Timeout",
    "Unavailable",
    "WrongServer",
]


class CascadeClientError(Exception):
    """Any failure that the caller can act on."""


class BadSetting(CascadeClientError, ValueError):
    """An address or a setting of the client that cannot be used."""


class RequestRefused(CascadeClientError):
    """A request that this client or the server refuses; the same request is refused again."""


class CannotReach(CascadeClientError):
    """No connection could be made, or it broke before the answer came."""


class Timeout(CascadeClientError):
    """A connection, and no answer in time."""


class Unavailable(CascadeClientError):
    """The server is there and cannot answer now: it starts, restarts, or has no room."""


class WrongServer(CascadeClientError):
    """What answered is no Cascade server that this client understands, or does not serve the model."""
