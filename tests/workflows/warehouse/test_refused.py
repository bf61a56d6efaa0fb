"""A server that refuses the login, in the words of the real ones: one sentence, and no secret in any line or file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.cli import app

SNOWFLAKE = {
    "data": {"nextAction": "RETRY_LOGIN", "authnMethod": "USERNAME_PASSWORD"},
    "code": "390100",
    "message": "Incorrect username or password was specified.",
    "success": False,
    "headers": None,
}
BIGQUERY = {
    "error": {
        "code": 401,
        "message": "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        "errors": [{"message": "Invalid Credentials", "domain": "global", "reason": "authError"}],
        "status": "UNAUTHENTICATED",
    }
}


@contextmanager
def refusing(status: int, answer: dict[str, Any]) -> Iterator[int]:
    """The port of a server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "answer", "source", "said"),
    [
        pytest.param(
            200,
            SNOWFLAKE,
            "snowflake://fake:s3cret%2Fpw@fakesnow/SHOP/SALES?host=127.0.0.1&port={port}&protocol=http",
            "Incorrect username or password was specified; correct the account, the user and the secret in data.source",
            marks=pytest.mark.service("snowflake"),
            id="snowflake",
        ),
        pytest.param(
            401,
            BIGQUERY,
            "bigquery://shop-1/sales?endpoint=http://127.0.0.1:{port}",
            "set GOOGLE_APPLICATION_CREDENTIALS to a key file, log in with gcloud, or add ?credentials=FILE",
            marks=pytest.mark.service("bigquery"),
            id="bigquery",
        ),
    ],
)
def test_a_refused_login_is_one_sentence(
    tmp_path: Path, status: int, answer: dict[str, Any], source: str, said: str
) -> None:
    config = tmp_path / "config.toml"
    with refusing(status, answer) as port:
        config.write_text(f'[data]\nevents = "sales.events"\ntimestamp = "at"\nsource = "{source.format(port=port)}"\n')
        found = CliRunner().invoke(app, ["prepare", "--config", str(config), "--out", str(tmp_path / "run")])
    assert found.exit_code == 1
    line = " ".join(found.output.split())
    assert said in line, line
    assert "s3cret" not in line and "Traceback" not in line
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and not path.name.startswith(".lock")]
