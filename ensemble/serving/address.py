"""Server addresses: which protocol a URL means, and `host:port` as tritonclient takes it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from workflows.core.errors import ServingError

__all__ = ["Address", "Protocol", "parse_url"]

Protocol = Literal["grpc", "http"]
DEFAULT_PORTS: dict[Protocol, int] = {"grpc": 8001, "http": 8000}


class Address(msgspec.Struct, frozen=True):
    """Where a server is."""

    protocol: Protocol
    host_and_port: str

    def __str__(self) -> str:
        return f"{self.protocol}://{self.host_and_port}"


def parse_url(url: str, protocol: Protocol | None = None) -> Address:
    """Read `host:port`, `grpc://host:port` or `http://host:port`.

    Without a scheme, port 8000 means HTTP and any other port gRPC, unless `protocol` says.

    Raises:
        ServingError: another scheme, a contradiction, or no valid host and port.
    """
    parts = urlsplit(url if "://" in url else f"//{url}")
    if parts.scheme not in ("", "grpc", "http"):
        raise ServingError(f"--url must start with grpc:// or http:// or be host:port, got '{url}'")
    if protocol and parts.scheme and parts.scheme != protocol:
        raise ServingError(f"the URL '{url}' contradicts protocol='{protocol}'; leave one of them out")
    try:
        port = parts.port
    except ValueError:
        raise ServingError(f"the port of '{url}' must be a number from 1 to 65535") from None
    if not parts.hostname or parts.path not in ("", "/"):
        raise ServingError(f"--url must be host:port, like localhost:8001, got '{url}'")
    chosen: Protocol = protocol or ("http" if parts.scheme == "http" or (not parts.scheme and port == 8000) else "grpc")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(chosen, f"{host}:{port or DEFAULT_PORTS[chosen]}")
