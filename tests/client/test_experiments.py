"""The file of experiments as a client knows it: read again when it changes, as it was while it cannot be read."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cascade_client import experiments as module
from cascade_client.assignment import Experiments
from cascade_client.errors import BadSetting
from cascade_client.experiments import ExperimentsSource
from tests.client.test_assignment import RECORD, halves


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EACH_S", 0.0)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "experiments.json"
    source = ExperimentsSource(path)
    assert source.current() == Experiments()
    path.write_text(json.dumps(RECORD))
    expected = Experiments((halves(end=0.2),), "holdout-1")
    assert source.current() == expected == ExperimentsSource(str(path)).current()
    with caplog.at_level(logging.WARNING):
        path.write_text("{")
        assert source.current() == source.current() == expected
    assert len(caplog.records) == 1 and "as they were" in caplog.text
    path.unlink()
    assert source.current() == Experiments()


def test_what_is_given_holds() -> None:
    assert ExperimentsSource(RECORD).current() == Experiments((halves(end=0.2),), "holdout-1")


def test_what_is_no_such_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "experiments.json"
    for content in ("{", "[]", '{"format": 9}'):
        path.write_text(content)
        with pytest.raises(BadSetting, match="experiments cannot be read"):
            ExperimentsSource(path)
    with pytest.raises(BadSetting):
        ExperimentsSource({})


@pytest.fixture
def served() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A URL, and what it answers: the last of the list."""
    says = [(404, b"")]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = says[-1]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/experiments.json", says
    server.shutdown()
    server.server_close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_url_is_asked_beside_the_requests(served: tuple[str, list[tuple[int, bytes]]]) -> None:
    url, says = served
    source = ExperimentsSource(url)
    assert source.current() == Experiments()
    says.append((200, json.dumps(RECORD).encode()))
    until(lambda: source.current().experiments != ())
    # While it is broken or away, what it said holds.
    for wrong in ((500, b""), (200, b"<html>")):
        says.append(wrong)
        for _ in range(5):
            assert source.current().experiments == (halves(end=0.2),)
    says.append((404, b""))
    until(lambda: source.current() == Experiments())


def test_a_url_that_does_not_answer_is_no_experiment_and_no_error() -> None:
    assert ExperimentsSource("http://127.0.0.1:9/experiments.json").current() == Experiments()
