"""A console of a synthetic run that listens on a port of its own, in a thread of the test's process."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from console.site import Site

__all__ = ["Answered", "Asks", "running", "text_of"]


class Answered(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def links(self) -> list[str]:
        """Where the page leads, in its order."""
        return [unescape(found) for found in re.findall(r'(?:href|action|src)="([^"]+)"', self.body)]


class Asks(NamedTuple):
    """Asks one console."""

    port: int

    def get(self, address: str, host: str = "localhost") -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", address, headers={"host": host})
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Answered(found.status, headers, found.read().decode())
        finally:
            connection.close()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def text_of(body: str) -> str:
    """What a page says, without its tags."""
    parser = _Text()
    parser.feed(body)
    return " ".join(" ".join(parser.found).split())


@contextmanager
def running(target: Path, **options: Any) -> Iterator[Asks]:
    """Serve a console for the time of a block."""
    import uvicorn

    from console.app import application
    from console.serve import listening

    with listening("127.0.0.1", 0) as listener:
        config = uvicorn.Config(application(Site(target, **options)), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Asks(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
