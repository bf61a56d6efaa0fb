"""The containers' health check on a real server with two processes: it sees a dead one, and ends what keeps it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.serving.stubs import StubWatch, children
from ensemble.serving.triton import TritonServer
from tests.ensemble.serving.processes import eventually
from tests.ensemble.serving.toy import write_toy

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]
HEALTH = Path(__file__).parents[2] / "docker" / "health.py"


def health(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", HEALTH, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize("id_type", [pytest.param("TYPE_INT64", marks=pytest.mark.long), "TYPE_STRING"])
def test_a_dead_process_is_unhealthy_and_its_server_is_ended_when_asked(tmp_path: Path, id_type: str) -> None:
    with TritonServer(write_toy(tmp_path / "repository", id_type, num_instances=2)) as server:
        models = f"--end={server.log_path.parent / 'models'}"
        assert health(server.http_url, models) == (0, "")
        triton = server.triton_pid or -1
        watch = StubWatch(triton)
        os.kill(watch.of([("cascade", "1")])[0].pid, signal.SIGKILL)
        status, said = health(server.http_url, "--end=/another/folder")
        assert (status, server.ending()) == (1, None)
        assert "HTTPError: HTTP Error 500" in said
        assert health(server.http_url, models)[0] == 1
        eventually(lambda: children(server.pid) == [])
        eventually(lambda: server.ending() is not None)


def test_a_server_that_is_not_there_is_unhealthy() -> None:
    status, said = health("http://127.0.0.1:1")
    assert status == 1
    assert "URLError" in said
