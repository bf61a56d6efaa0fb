"""`cascade serve` as a process: its READY line, its ends, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_client import CascadeClient
from tests.ensemble.serving.processes import ROLES, eventually, processes_of, ready_urls, serving

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]

LOADS_FOR_EVER = "import time\nclass TritonPythonModel:\n    def initialize(self, args):\n        time.sleep(600)\n"
RAISES = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("item_fields.npy has 3 rows, expected 4")
"""
IMPORTS_WHAT_IS_NOT_THERE = "import no_such_module\n"


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read().decode())


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_urls_of_the_ready_line_answer_and_a_signal_ends_it_cleanly(
    make_toy: Callable[..., Path], stop: signal.Signals
) -> None:
    repository = make_toy()
    with serving(repository) as process:
        http_url, grpc_url, metrics_url = ready_urls(process)
        for url in (http_url, grpc_url):
            with CascadeClient(url) as client:
                assert client.recommend([7], slate_size=2)[0].item_ids == [7000, 7001]
        eventually(lambda: 'nv_inference_request_success{model="cascade",version="1"} 2' in read(metrics_url))
        assert processes_of(repository).keys() == ROLES.keys()
        process.send_signal(stop)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, processes_of(repository)) == (0, "", {})
        assert [line.split()[0] for line in err.splitlines()] == ["serve:", "serve:"], err


@pytest.mark.parametrize("victim", ["command", "supervisor", "server"])
def test_a_killed_process_takes_the_rest_along(make_toy: Callable[..., Path], victim: str) -> None:
    repository = make_toy()
    with serving(repository, "--no-restart") as process:
        ready_urls(process)
        os.kill(processes_of(repository)[victim], signal.SIGKILL)
        _, err = process.communicate(timeout=120)
        eventually(lambda: not processes_of(repository))
        if victim != "command":
            assert process.returncode == 1
            who = {"supervisor": "the process that supervises tritonserver", "server": "tritonserver"}[victim]
            assert f"error: {who} was ended by signal 9 (SIGKILL)" in err


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_never_gets_ready_ends_as_well(make_toy: Callable[..., Path], stop: signal.Signals) -> None:
    repository = make_toy(code=LOADS_FOR_EVER)
    with serving(repository) as process:
        eventually(lambda: "model" in processes_of(repository))
        process.send_signal(stop)
        out, _ = process.communicate(timeout=120)
        eventually(lambda: not processes_of(repository))
        assert (process.returncode, out) == (0 if stop == signal.SIGTERM else -stop, "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (RAISES, "item_fields.npy has 3 rows, expected 4"),
        (IMPORTS_WHAT_IS_NOT_THERE, "No module named 'no_such_module'"),
    ],
)
def test_a_model_that_cannot_load_is_one_sentence_with_the_reason(
    make_toy: Callable[..., Path], code: str, said: str
) -> None:
    with serving(make_toy(code=code)) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    error = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in error[0]
    assert "model 'cascade'" in error[0]
    assert "Traceback" not in err
    log = Path(error[0].rpartition("log: ")[2].rstrip(")"))
    assert said in log.read_text()


def test_a_busy_port_is_one_sentence(make_toy: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(make_toy(), "--grpc-port", str(port)) as process:
            out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert f"error: port {port} of 127.0.0.1 is already in use" in err
    assert "--grpc-port" in err


def test_an_altered_file_is_refused_before_anything_starts(make_toy: Callable[..., Path]) -> None:
    repository = make_toy()
    with (repository / "cascade" / "1" / "model.py").open("a") as file:
        file.write("# altered\n")
    with serving(repository) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "model.py has" in err
    assert len(err.splitlines()) == 1
