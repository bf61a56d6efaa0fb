"""The metrics of `cascade serve`: Triton's own page, and after it what only the process around Triton can count."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Counters", "metrics_page"]

TIMEOUT_S = 5.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Counters:
    """What has happened to a server since `cascade serve` began.

    Attributes:
        ready: whether every process of it is there.
        server_restarts: how often tritonserver was started again.
        dead_processes: how many of a model's processes have died, by model.
    """

    def __init__(self) -> None:
        self.ready = False
        self.server_restarts = 0
        self.dead_processes: Counter[str] = Counter()

    def text(self) -> str:
        """In Prometheus' text format."""
        return "\n".join(
            [
                "# HELP cascade_ready Whether tritonserver and every process of its models are there",
                "# TYPE cascade_ready gauge",
                f"cascade_ready {int(self.ready)}",
                "# HELP cascade_server_restarts_total How often tritonserver ended by itself and was started again",
                "# TYPE cascade_server_restarts_total counter",
                f"cascade_server_restarts_total {self.server_restarts}",
                "# HELP cascade_model_process_deaths_total Processes of a model that died and were replaced",
                "# TYPE cascade_model_process_deaths_total counter",
                *(
                    f'cascade_model_process_deaths_total{{model="{model}"}} {count}'
                    for model, count in sorted({"cascade": 0, **self.dead_processes}.items())
                ),
                "",
            ]
        )


@contextmanager
def metrics_page(host: str, port: int, triton_url: Callable[[], str], counters: Counters) -> Iterator[int]:
    """Answer GET /metrics on a thread; while Triton is away, with the counters alone.

    Args:
        host: address to listen on.
        port: number; 0 takes a free one.
        triton_url: says where Triton's own page is.
        counters: what is appended.

    Yields:
        The port.

    Raises:
        OSError: the port cannot be listened on.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = _triton_page(triton_url()) + counters.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    with Server((host, port), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def _triton_page(url: str) -> bytes:
    try:
        with OPENER.open(url, timeout=TIMEOUT_S) as response:
            return bytes(response.read())
    except OSError:
        return b""
