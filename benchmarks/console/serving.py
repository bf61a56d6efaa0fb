"""A console that answers in a thread of this process, so that the CPU of a page can be told."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn

from console.app import application
from console.serve import listening
from console.site import Site
from workflows.core.errors import ServingError

__all__ = ["PageAnswer", "Pages", "serving"]


class PageAnswer(NamedTuple):
    """A page that was asked for.

    Attributes:
        body: of the answer.
        cpu_s: of this process, with what asked.
        wall_s: until the whole page was there.
    """

    body: str
    cpu_s: float
    wall_s: float


class Pages:
    """Asks one console, over one connection as a browser does.

    Args:
        port: of this machine.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, address: str) -> PageAnswer:
        """Ask for a page.

        Raises:
            ServingError: it is no page but an error.
        """
        cpu, wall = time.process_time(), time.perf_counter()
        self._connection.request("GET", address)
        answered = self._connection.getresponse()
        body = answered.read().decode()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if answered.status != 200:
            raise ServingError(f"the console answers {address} with status {answered.status}: look at it in a browser")
        return PageAnswer(body, cpu, wall)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@contextmanager
def serving(site: Site) -> Iterator[Pages]:
    """Serve a console on a free port of this machine for the time of a block."""
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(application(site), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        pages = Pages(listener.getsockname()[1])
        try:
            yield pages
        finally:
            pages.close()
            server.should_exit = True
            thread.join()
