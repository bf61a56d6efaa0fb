"""What `cascade console` does."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import uvicorn

from console.admin import Admin
from console.app import LOOPBACK, application
from console.site import Site
from workflows.core import console
from workflows.core.errors import ServingError

__all__ = ["console_command", "listening"]


def console_command(
    target: Path,
    *,
    run: Path | None = None,
    events: Path | None = None,
    monitor: Path | None = None,
    beside: Path | None = None,
    admin_key: str = "",
    host: str = "127.0.0.1",
    port: int = 8600,
) -> None:
    """Show the pages until the process is stopped.

    Args:
        target: a run directory or a published repository.
        run: that a published repository's version was exported from.
        events: folder of live events.
        monitor: MON.
        beside: a run or repository that it is compared with.
        admin_key: what people must know to change something; empty: nobody can.
        host: address to listen on.
        port: to listen on; 0: a free one.

    Raises:
        ArtefactError: there is no such chain or folder, or it cannot be opened.
        ServingError: the address cannot be listened on.
    """
    site = Site(target, run=run, events=events, monitor=monitor, beside=beside)
    with listening(host, port) as listener:
        is_local = host in LOOPBACK
        if not is_local:
            console.say(f"the console asks nobody who they are: whoever reaches {host} sees what users did")
            if admin_key:
                console.say("the admin key and the sessions travel there as they are: put a proxy with TLS in front")
        shown = f"[{host}]" if ":" in host else host
        console.say(f"console of {target}: http://{shown}:{listener.getsockname()[1]}/ (Ctrl-C stops it)")
        app = application(site, LOOPBACK if is_local else ("*",), Admin(admin_key) if admin_key else None)
        config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            console.say("the console is stopped")


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ServingError: another process has the port, or the address is none of this machine.
    """
    if not 0 <= port < 65536:
        raise ServingError(f"--port {port}: a port is from 1 to 65535, or 0 for a free one")
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _bound(kind, address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServingError(f"port {port} of {host} is taken; --port 0 takes a free one") from None
        raise ServingError(f"--host {host}: cannot listen there ({error.strerror or error})") from None


def _bound(kind: socket.AddressFamily, address: Any) -> socket.socket:
    # By its name, or asyncio leaves the delay of small packets on, and every page waits 40 ms for an acknowledgement.
    listener = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
