"""The processes of a training meet before TensorFlow starts, which would wait for a missing process for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Sequence

from workflows.core.errors import CascadeError, ConfigError

__all__ = ["MEETING_TIMEOUT_S", "meet"]

MEETING_TIMEOUT_S = 300.0
RETRY_EVERY_S = 0.2
HELLO_TIMEOUT_S = 5.0
MAX_HELLO_BYTES = 512
GO = b"go\n"


def meet(addresses: Sequence[str], rank: int, fingerprint: str, timeout_s: float = MEETING_TIMEOUT_S) -> None:
    """Return when every process has come and all are about to train the same; their ports are free again by then.

    Args:
        addresses: host:port of each process, by rank. The first waits at its own for the others.
        rank: of this process.
        fingerprint: of what it is about to do.
        timeout_s: how long to wait for the others.

    Raises:
        ConfigError: a port is in use, or a process came with another fingerprint.
        CascadeError: a process did not come in time, or the first one gave up.
    """
    deadline = time.monotonic() + timeout_s
    with _listen(addresses[rank]) as server:
        if rank == 0:
            connections = _wait_for_all(server, addresses, fingerprint, deadline)
    if rank > 0:
        _report_to_first(addresses[0], rank, fingerprint, deadline)
        return
    for connection in connections:
        with connection, contextlib.suppress(OSError):
            connection.sendall(GO)


def _listen(address: str) -> socket.socket:
    """Listen where TensorFlow will: on all interfaces, as its server does."""
    port = int(address.rpartition(":")[2])
    try:
        return socket.create_server(("", port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ConfigError(
            f"port {port} cannot be used ({os.strerror(error.errno)}): set MASTER_PORT to another number, or name "
            "other ports in TF_CONFIG"
        ) from None


def _wait_for_all(
    server: socket.socket, addresses: Sequence[str], fingerprint: str, deadline: float
) -> list[socket.socket]:
    came: dict[int, socket.socket] = {}
    try:
        while len(came) < len(addresses) - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            connection, _ = server.accept()
            rank, its_fingerprint = _hello(connection)
            if not 0 < rank < len(addresses):
                connection.close()  # not one of ours
                continue
            if its_fingerprint != fingerprint:
                connection.close()
                raise ConfigError(
                    f"process {rank + 1} of {len(addresses)} was started with another config or reads other artefacts "
                    "than the first; start all with the same command on the same run directory"
                )
            if rank in came:
                came[rank].close()
            came[rank] = connection
    except TimeoutError:
        missing = [f"{r + 1} ({addresses[r]})" for r in range(1, len(addresses)) if r not in came]
        _close(came.values())
        raise CascadeError(
            f"waited for process {', '.join(missing)} of {len(addresses)} in vain; expected all to be started within "
            f"{MEETING_TIMEOUT_S:.0f} s of each other, and TF_CONFIG where they are on several machines"
        ) from None
    except BaseException:
        _close(came.values())
        raise
    return list(came.values())


def _hello(connection: socket.socket) -> tuple[int, str]:
    """Rank and fingerprint of whoever connected; rank -1 when it is no process of ours."""
    connection.settimeout(HELLO_TIMEOUT_S)
    try:
        with connection.makefile("rb") as stream:
            rank, _, fingerprint = stream.readline(MAX_HELLO_BYTES).decode("ascii").strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        return -1, ""
    return (int(rank), fingerprint) if rank.isdigit() else (-1, "")


def _report_to_first(address: str, rank: int, fingerprint: str, deadline: float) -> None:
    host, _, port = address.rpartition(":")
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), HELLO_TIMEOUT_S) as peer,
        ):
            peer.sendall(f"{rank} {fingerprint}\n".encode())
            peer.settimeout(max(deadline - time.monotonic(), 0.001))
            with peer.makefile("rb") as stream:
                if stream.readline(len(GO)) == GO:
                    return
            raise CascadeError("the first process ended before all had come; its message says why")
        if time.monotonic() > deadline:
            raise CascadeError(
                f"waited for the first process at {address} in vain; expected all to be started within "
                f"{MEETING_TIMEOUT_S:.0f} s of each other, and TF_CONFIG where they are on several machines"
            )
        time.sleep(RETRY_EVERY_S)


def _close(connections: object) -> None:
    for connection in connections:  # type: ignore[attr-defined]
        connection.close()
