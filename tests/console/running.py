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
from urllib.parse import urlencode

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

    def get(self, address: str, host: str = "localhost", cookie: str = "") -> Answered:
        return self.send("GET", address, {"host": host, "cookie": cookie})

    def post(self, address: str, form: Mapping[str, str], **headers: str) -> Answered:
        """Send a form, as a page of the console does where `headers` say nothing else."""
        plain = {"host": "localhost", "content-type": "application/x-www-form-urlencoded"}
        return self.send("POST", address, plain | headers, urlencode(form))

    def send(self, method: str, address: str, headers: Mapping[str, str], body: str | None = None) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, address, body, {name: value for name, value in headers.items() if value})
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
def running(target: Path, admin_key: str = "", **options: Any) -> Iterator[Asks]:
    """Serve a console for the time of a block."""
    import uvicorn

    from console.admin import Admin
    from console.app import LOOPBACK, application
    from console.serve import listening

    with listening("127.0.0.1", 0) as listener:
        app = application(Site(target, **options), LOOPBACK, Admin(admin_key) if admin_key else None)
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Asks(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
