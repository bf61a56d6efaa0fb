"""Server addresses: which protocol a URL means, and `host:port` as tritonclient takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from cascade_client.errors import BadSetting

__all__ = ["Address", "Protocol", "parse_url"]

Protocol = Literal["grpc", "http"]
DEFAULT_PORTS: dict[Protocol, int] = {"grpc": 8001, "http": 8000}


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        protocol: what it speaks there.
        host_and_port: an IPv6 address in brackets.
    """

    protocol: Protocol
    host_and_port: str

    @property
    def host(self) -> str:
        """The host alone, without brackets."""
        return self.host_and_port.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port's number."""
        return int(self.host_and_port.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        return self.host_and_port.startswith(("localhost:", "127.", "[::1]:"))

    def __str__(self) -> str:
        return f"{self.protocol}://{self.host_and_port}"


def parse_url(url: str, protocol: Protocol | None = None) -> Address:
    """Read `host:port`, `grpc://host:port` or `http://host:port`.

    Without a scheme, port 8000 means HTTP and any other port gRPC, unless `protocol` says.

    Raises:
        BadSetting: another scheme, a contradiction, or no valid host and port.

    Example:
        >>> str(parse_url("localhost:8001")), str(parse_url("http://shop"))
        ('grpc://localhost:8001', 'http://shop:8000')
    """
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host = parts.hostname
        (host or "").encode("idna")
    except ValueError:  # brackets that do not close; a name that no host can have
        raise BadSetting(f"a server's address must be host:port, like localhost:8001, got '{url}'") from None
    if parts.scheme not in ("", "grpc", "http"):
        raise BadSetting(f"a server's address must start with grpc:// or http:// or be host:port, got '{url}'")
    if protocol not in (None, "grpc", "http"):
        raise BadSetting(f"protocol must be 'grpc' or 'http', got {protocol!r}")
    if protocol and parts.scheme and parts.scheme != protocol:
        raise BadSetting(f"the URL '{url}' contradicts protocol='{protocol}'; leave one of them out")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise BadSetting(f"the port of '{url}' must be a number from 1 to 65535")
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadSetting(f"a server's address must be host:port, like localhost:8001, got '{url}'")
    chosen: Protocol = protocol or ("http" if parts.scheme == "http" or (not parts.scheme and port == 8000) else "grpc")
    return Address(chosen, f"{f'[{host}]' if ':' in host else host}:{port or DEFAULT_PORTS[chosen]}")
