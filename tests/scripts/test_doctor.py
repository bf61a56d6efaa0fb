"""`cascade doctor`: each finding has the command that mends it, as a table and as JSON."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts import doctor_checks, needs
from scripts.cli import app


def doctor(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.stdout


@pytest.fixture
def nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port is taken here, whatever else runs on the machine."""
    monkeypatch.setattr(doctor_checks, "PORTS", {})
    monkeypatch.setattr(doctor_checks, "LEAST_FREE_BYTES", 0)


@pytest.mark.usefixtures("nothing_wrong")
def test_a_machine_in_order_has_nothing_to_mend() -> None:
    assert doctor("--for", "export", "--fix-hints")[1].endswith("nothing is to be mended\n")


@pytest.mark.usefixtures("nothing_wrong")
def test_a_port_that_is_taken_and_a_full_disk_are_said_with_what_mends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks, "LEAST_FREE_BYTES", 2**80)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor_checks, "PORTS", {"grpc": port})
        status, said = doctor("--for", "export", "--fix-hints", "--out", str(tmp_path / "runs"))
        assert status == 1 and "in use: serve with --grpc-port" in said
        assert "grpc port: cascade serve RUN --grpc-port 0" in said
        assert f"free disk: du -sh {tmp_path}/* shows what takes it" in said
        status, said = doctor("--for", "export", "--json")
    found = {check["what"]: check for check in json.loads(said)["checks"] if check["problem"]}
    assert status == 1 and found["grpc port"]["found"] == str(port)
    assert found["grpc port"]["fix"] == "cascade serve RUN --grpc-port 0"


@pytest.mark.usefixtures("nothing_wrong")
def test_a_place_where_no_run_can_be_written_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    wanted = {
        tmp_path / "file": f"{tmp_path}/file is no folder",
        tmp_path / "file/runs": f"{tmp_path}/file is no folder",
        tmp_path / "gone": f"{tmp_path}/gone is no folder",
        Path("/proc/runs"): "no file can be written in /proc",
    }
    for out, problem in wanted.items():
        status, said = doctor("--for", "export", "--json", "--out", str(out))
        (found,) = [check for check in json.loads(said)["checks"] if check["problem"]]
        assert status == 1 and found["problem"] == problem and found["fix"] == "name another folder with --out"
    assert doctor("--for", "export", "--out", str(tmp_path / "runs/new"))[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "gone"]


@pytest.mark.usefixtures("nothing_wrong")
def test_a_purpose_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = needs.missing
    monkeypatch.setattr(needs, "missing", lambda group: ["scipy"] if group == "measuring" else real(group))
    status, said = doctor("--for", "evaluate", "--fix-hints")
    assert status == 1 and "to evaluate: uv pip install --python" in said and "'.[evaluate]'" in said
    status, said = doctor("--for", "export", "--json")
    found = {one["purpose"]: one for one in json.loads(said)["purposes"]}
    assert status == 0 and found["export"]["is_possible"] and found["export"]["fix"] == ""
    assert not found["evaluate"]["is_possible"] and not found["evaluate"]["is_wanted"]
    assert "cascade evaluate needs scipy" in found["evaluate"]["problem"]


def test_what_a_machine_cannot_be_for_is_refused() -> None:
    status, said = doctor("--for", "cook", "--json")
    assert (status, said) == (1, "")
