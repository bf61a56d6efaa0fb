"""Ports for servers that are told theirs and start later, or come back on it: nobody else is given one meanwhile."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

__all__ = ["free_port", "free_ports"]

# Of these the system gives one to whoever asks for any: each connection, and each server that takes port 0.
GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST, LAST = 10_000, 65_535
# Not the one of a test: processes that draw from the same seed would choose the same ports.
_random = random.SystemRandom()


def free_port(beside: int = 0) -> int:
    """A port on which nothing listens, outside of those that the system gives out.

    Args:
        beside: the port so much higher is free too.
    """
    low, high = map(int, GIVEN_OUT.read_text().split())
    ours = [
        port
        for port in range(FIRST, LAST + 1 - beside)
        if not any(low <= each <= high for each in (port, port + beside))
    ]
    for port in _random.sample(ours, len(ours)) or range(FIRST, LAST + 1 - beside):
        if _is_free(port, port + beside):
            return port
    raise RuntimeError("no port is free")


def free_ports(number: int) -> list[int]:
    """So many of them, all different."""
    found: set[int] = set()
    while len(found) < number:
        found.add(free_port())
    return sorted(found)


def _is_free(*ports: int) -> bool:
    with ExitStack() as sockets:
        for port in {*ports}:
            one = sockets.enter_context(socket.socket())
            try:
                one.bind(("", port))
            except OSError:
                return False
    return True
