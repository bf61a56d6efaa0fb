"""Ports to listen on: refused when busy, chosen when 0."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from workflows.core.errors import ServingError

__all__ = ["accepts", "reserve_ports"]


def reserve_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Check that the ports are free, and choose one where 0 is asked for.

    All are held at once while choosing, so the numbers differ; they are released on return.

    Args:
        host: the address that will be bound.
        wanted: what each port is for, and its number.

    Raises:
        ServingError: a port is in use, out of range, named twice or not allowed, or the address is not this machine's.
    """
    with ExitStack() as held:
        return {purpose: _bind(held, host, purpose, port) for purpose, port in wanted.items()}


def accepts(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether something takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _bind(held: ExitStack, host: str, purpose: str, port: int) -> int:
    option = f"--{purpose}-port"
    if not 0 <= port <= 65_535:
        raise ServingError(f"{option} must be between 0 (choose a free one) and 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        raise ServingError(_why_not(error, host, port, option)) from None
    return int(listener.getsockname()[1])


def _why_not(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is already in use; stop its user, or give another {option} (0 takes a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user; give {option} a number of 1024 or more"
    return f"--host {host} cannot be listened on ({error.strerror or error}); use 127.0.0.1, or 0.0.0.0 in a container"
