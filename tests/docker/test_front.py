"""The proxy in front of HTTP: JSON that would end Triton does not get there, and all else goes through as it is."""

from __future__ import annotations

import gzip
import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from ensemble.serving.ports import accepts
from tests.ensemble.serving.processes import eventually
from tests.ports import free_port

DOCKER = Path(__file__).parents[2] / "docker"
NGINX = shutil.which("nginx")
INFER = "/v2/models/cascade/infer"
JSON_OF = "Inference-Header-Content-Length"
BRACKETS = b"[" * 1_000_000


class Upstream(BaseHTTPRequestHandler):
    """Says what has come, as Triton would be given it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(f"{self.headers.get(JSON_OF, '')} {len(body)}".encode())

    def _say(self, what: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(what)))
        self.end_headers()
        self.wfile.write(what)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    assert NGINX
    folder = tmp_path_factory.mktemp("front")
    # Run by root, it writes bodies as another user.
    folder.chmod(0o777)
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as upstream:
        threading.Thread(target=upstream.serve_forever).start()
        listens = free_port()
        text = (DOCKER / "nginx.conf").read_text()
        for old, new in {
            "127.0.0.1:8000": f"127.0.0.1:{upstream.server_port}",
            "127.0.0.1:8080": f"127.0.0.1:{listens}",
            "/tmp/nginx": f"{folder}/nginx",
            "events {": "user root;\nevents {",
        }.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(text)
        front = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf", "-g", "daemon off;"])
        try:
            eventually(lambda: accepts("127.0.0.1", listens))
            yield listens
        finally:
            front.terminate()
            front.wait()
            upstream.shutdown()


def ask(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}), encode_chunked=isinstance(body, list))
        response = connection.getresponse()
        return response.status, response.read()
    except BrokenPipeError:  # it was refused before all of it was sent
        return 413, b'"error"'
    finally:
        connection.close()


@pytest.mark.service("nginx")
@pytest.mark.parametrize(
    ("body", "headers", "answered"),
    [
        (b"[" * 59_999, {}, b" 59999"),
        (b"x" * (1 << 22), {JSON_OF: "59999"}, b"59999 4194304"),
        (b"", {}, b" 0"),
        (b"[" * 60_000, {}, None),
        (BRACKETS, {JSON_OF: "1000000"}, None),
        (BRACKETS, {JSON_OF: "-1"}, None),
        (b"[" * (9 << 20), {JSON_OF: "10"}, None),
        (gzip.compress(BRACKETS), {"Content-Encoding": "gzip"}, None),
        ([BRACKETS], {"Transfer-Encoding": "chunked"}, None),
    ],
    ids=["json", "binary", "empty", "long", "long in binary", "no length of json", "too large", "packed", "chunked"],
)
def test_json_that_may_be_deep_is_refused(
    port: int, body: object, headers: dict[str, str], answered: bytes | None
) -> None:
    status, said = ask(port, "POST", INFER, body, headers)
    assert (status, said) == (200, answered) if answered is not None else (status, b'"error"' in said) == (413, True)


@pytest.mark.service("nginx")
def test_only_slates_health_and_statistics_are_passed_on(port: int) -> None:
    model = "/v2/models/cascade"
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", model, f"{model}/ready", f"{model}/versions/2/stats"):
        assert ask(port, "GET", path)[0] == 200, path
    for path in ("/", "/metrics", "/v2/repository/index", "/v2/logging", "/v2/systemsharedmemory/status"):
        assert ask(port, "GET", path)[0] == 404, path
    assert ask(port, "GET", f"{model}/infer/../../../repository/index")[0] == 404
    assert ask(port, "POST", "/v2/repository/models/cascade/unload", b"{}")[0] == 404


def test_compose_starts_it_before_the_port_of_the_server() -> None:
    front = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["front"]
    assert front["profiles"] == ["front"]
    assert front["network_mode"] == "host"
    assert front["volumes"] == ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
    text = (DOCKER / "nginx.conf").read_text()
    # What it writes is where any user may write.
    assert all(line.split()[1].startswith("/tmp/") for line in text.splitlines() if "_temp_path" in line)
    assert "server 127.0.0.1:8000;" in text
