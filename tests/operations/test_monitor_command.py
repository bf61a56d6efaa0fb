"""`cascade monitor --port` and `cascade monitor-files` as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
import yaml
from typer.testing import CliRunner

from operations.monitoring.dashboards import DASHBOARDS
from runtime.log.usage import Usage
from scripts.cli import app


@pytest.mark.timeout(120)
def test_the_page_is_there_before_anything_was_collected_and_ends_with_sigterm(tmp_path) -> None:
    usage = Usage(tmp_path / "log", {"step": "chain"}, [], print)
    (tmp_path / "log").mkdir()
    usage.request("web", "ok", 900)
    usage.close()
    words = ["monitor", str(tmp_path / "mon"), "--port", "0", "--log", str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from scripts.cli import main; main()", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        ready, url = process.stdout.readline().split()
        assert ready == "READY"
        with urllib.request.urlopen(url, timeout=30) as response:
            page = response.read().decode()
        assert 'cascade_requests_total{consumer="web",outcome="ok"} 1.0' in page
        assert "cascade_monitor_last_run_timestamp_seconds 0.0" in page
        assert "holds no collected requests" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_options_that_do_not_go_together_and_a_taken_port_are_refused(tmp_path) -> None:
    refused = CliRunner().invoke(app, ["monitor", str(tmp_path), "--once", "--port", "0"])
    assert refused.exit_code == 1 and "give one of them" in refused.stderr
    refused = CliRunner().invoke(app, ["monitor", str(tmp_path), "--json"])
    assert (refused.exit_code, refused.stdout) == (1, "") and "give --once too" in refused.stderr


def test_the_files_are_written(tmp_path) -> None:
    done = CliRunner().invoke(app, ["monitor-files", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert {path.stem for path in (tmp_path / "out/dashboards").iterdir()} == set(DASHBOARDS)
    for path in (tmp_path / "out").rglob("*.yml"):
        assert yaml.safe_load(path.read_text())
    assert (tmp_path / "out/rules.yml").is_file() and (tmp_path / "out/grafana/providers.yml").is_file()
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(app, ["monitor-files", str(tmp_path / "file")])
    assert refused.exit_code == 1 and "is a file, expected a folder" in refused.stderr
