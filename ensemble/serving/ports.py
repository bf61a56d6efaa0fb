"""Ports to listen on: refused when busy, chosen when 0."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from workflows.core.errors import ServingError

__all__ = ["accepts", "held_ports"]


@contextmanager
def held_ports(host: str, wanted: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Ports that nobody who asks for a free one is given while the body runs.

    A program that names such a port and sets SO_REUSEADDR, as tritonserver does, can listen on it all the same: a
    server that loads for seconds before it listens finds its ports as they were chosen.

    Args:
        host: the address that will be bound.
        wanted: what each port is for, and its number; 0 chooses one.

    Raises:
        ServingError: a port is in use, out of range, named twice or not allowed, or the address is not this machine's.
    """
    if not host:
        raise ServingError("--host must be an address to listen on, got nothing; use 127.0.0.1")
    with ExitStack() as held:
        with ExitStack() as listening:
            ports = {purpose: _bind(held, listening, host, purpose, port) for purpose, port in wanted.items()}
        yield ports


def accepts(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether something takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _bind(held: ExitStack, listening: ExitStack, host: str, purpose: str, port: int) -> int:
    """Bind the port for as long as `held` lasts, and listen on it until `listening` ends."""
    option = f"--{purpose}-port"
    if not 0 <= port <= 65_535:
        raise ServingError(f"{option} must be between 0 (choose a free one) and 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder, listener = (stack.enter_context(socket.socket(family)) for stack in (held, listening))
    try:
        for each in (holder, listener):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind((host, port))
            port = int(each.getsockname()[1])
        listener.listen(1)
    except OSError as error:
        raise ServingError(_why_not(error, host, port, option)) from None
    return port


def _why_not(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is already in use; stop its user, or give another {option} (0 takes a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user; give {option} a number of 1024 or more"
    return f"--host {host} cannot be listened on ({error.strerror or error}); use 127.0.0.1, or 0.0.0.0 in a container"
