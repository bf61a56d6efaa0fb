"""The parts of serving that need no server: ports, repositories, logs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ensemble.serving import binary
from ensemble.serving.ports import held_ports
from ensemble.serving.repository import find_repository
from ensemble.serving.server_log import reason
from ensemble.serving.stubs import children
from tests.ensemble.serving.toy import seal
from tests.ports import free_port
from workflows.core.errors import ArtefactError, ServingError


def test_chosen_ports_differ_and_given_ones_are_kept() -> None:
    given_port = free_port()
    with held_ports("127.0.0.1", {"http": 0, "grpc": given_port, "metrics": 0}) as ports:
        assert ports["grpc"] == given_port
        assert len(set(ports.values())) == 3


def test_a_held_port_is_nobodys_but_his_who_is_told_its_number() -> None:
    with held_ports("127.0.0.1", {"http": 0}) as ports, ExitStack() as others:
        address = ("127.0.0.1", ports["http"])
        plain = others.enter_context(socket.socket())
        with pytest.raises(OSError, match="in use"):
            plain.bind(address)
        with pytest.raises(ConnectionRefusedError):
            plain.connect(address)
        # As tritonserver and Python's HTTP server do; once more, as after a restart.
        for _ in range(2):
            with socket.create_server(address), pytest.raises(ServingError, match="already in use"):
                others.enter_context(held_ports("127.0.0.1", {"http": ports["http"]}))
        with held_ports("127.0.0.1", {"http": ports["http"]}) as again:
            assert again == ports


@pytest.mark.parametrize(
    ("host", "wanted", "said"),
    [
        ("127.0.0.1", {"http": 70_000}, "--http-port must be between 0"),
        ("", {"http": 0}, "--host must be an address to listen on, got nothing"),
        ("192.0.2.1", {"http": 0}, "--host 192.0.2.1 cannot be listened on"),
        ("no.such.host.invalid", {"http": 0}, "--host no.such.host.invalid cannot be listened on"),
    ],
)
def test_ports_that_cannot_be_had_are_one_sentence(host: str, wanted: dict[str, int], said: str) -> None:
    with pytest.raises(ServingError) as caught, held_ports(host, wanted):
        pass
    assert said in str(caught.value)


def test_one_number_for_two_ports_is_refused() -> None:
    port = free_port()
    with (
        pytest.raises(ServingError, match=f"port {port} of 127.0.0.1 is already in use"),
        held_ports("127.0.0.1", {"http": port, "grpc": port}),
    ):
        pass


def exported(folder: Path) -> Path:
    (folder / "cascade").mkdir(parents=True)
    (folder / "cascade" / "config.pbtxt").write_text("max_batch_size: 64\n")
    return folder


def test_a_run_a_published_folder_and_a_repository_all_lead_to_it(tmp_path: Path) -> None:
    fused = exported(tmp_path / "run" / "repo" / "fused")
    ensemble = exported(tmp_path / "run" / "repo" / "ensemble")
    seal(tmp_path / "run" / "repo")
    assert find_repository(tmp_path / "run") == fused
    assert find_repository(tmp_path / "run", "ensemble") == ensemble
    assert find_repository(tmp_path / "run" / "repo", "ensemble") == ensemble
    assert find_repository(fused) == fused


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is not a folder"):
        find_repository(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="neither a run directory nor a model repository"):
        find_repository(tmp_path)
    (tmp_path / "run" / "ranking").mkdir(parents=True)
    with pytest.raises(ArtefactError, match="is a run without an export; run `cascade export"):
        find_repository(tmp_path / "run")
    exported(tmp_path / "run" / "repo" / "fused")
    with pytest.raises(ArtefactError, match="has no manifest"):
        find_repository(tmp_path / "run")
    with pytest.raises(ArtefactError, match="use --layout fused"):
        find_repository(tmp_path / "run", "ensemble")
    with pytest.raises(ArtefactError, match="--layout must be one of fused, ensemble"):
        find_repository(tmp_path / "run", "flat")


def test_of_a_published_repository_only_what_is_served_is_checked(tmp_path: Path) -> None:
    (tmp_path / "cascade").mkdir()
    (tmp_path / "cascade" / "config.pbtxt").write_text("version_policy { specific { versions: [ 2 ] } }\n")
    folders = ("cascade/1", "cascade/2", "cascade/.3.withdrawn", "cascade_v1_rank", "cascade_v2_rank")
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data").write_text("whole")
        seal(tmp_path / folder)
    for folder in ("cascade/1", "cascade/.3.withdrawn", "cascade_v1_rank"):
        (tmp_path / folder / "data").write_text("worn!")
        assert find_repository(tmp_path) == tmp_path
    for folder in ("cascade/2", "cascade_v2_rank"):
        (tmp_path / folder / "data").write_text("worn!")
        with pytest.raises(ArtefactError, match=f"{folder}/data does not match"):
            find_repository(tmp_path)
        (tmp_path / folder / "data").write_text("whole")


@pytest.mark.parametrize("part", ["", "repo", "repo/fused"])
def test_an_altered_file_is_found_from_every_path(tmp_path: Path, part: str) -> None:
    fused = exported(tmp_path / "repo" / "fused")
    seal(tmp_path / "repo")
    (fused / "cascade" / "config.pbtxt").write_text("max_batch_size: 65\n")
    with pytest.raises(ArtefactError, match="does not match its checksum"):
        find_repository(tmp_path / part)


def test_no_tritonserver_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary.shutil, "which", lambda name: None)
    monkeypatch.setattr(binary, "OFFICIAL", tmp_path / "tritonserver")
    monkeypatch.setattr(binary.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServingError, match="nvidia-pytriton is not installed"):
        binary.find_triton(tmp_path)


def test_pytriton_beside_numpy_2_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "installed_triton", lambda: None)
    monkeypatch.setattr(binary.importlib.metadata, "version", lambda name: "2.3.1")
    with pytest.raises(ServingError, match=r"built for numpy 1, and its answers are empty beside numpy 2\.3\.1: serve"):
        binary.find_triton(tmp_path)
    assert "numpy 1" in str(binary.why_not_pytriton())


def test_an_installed_tritonserver_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = binary.find_triton(tmp_path)
    assert (found.executable, found.backends) == (program, None)
    base = {"PATH": "/usr/bin", "OMP_NUM_THREADS": "4"}
    environment = binary.server_environment(found, base)
    assert (environment["PATH"], environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == (
        "/usr/bin",
        "4",
        "1",
    )


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "I x] ok\nE x] failed to load 'cascade' version 1: Internal: ValueError: bad\n\nAt:\n  /a/b.py(3): f\n",
            "model 'cascade': ValueError: bad",
        ),
        (
            "E x] failed to load 'cascade_events' version 1: Internal: TritonModelException: none\\n\\nAt:\\n  /a.py\n",
            "model 'cascade_events': none",
        ),
        ("error: creating server: Internal - failed to load all models\n", "failed to load all models"),
        ("tritonserver: error while loading shared libraries: libz.so.1: cannot open\n", "libz.so.1: cannot open"),
        ("", "its log is empty"),
    ],
)
def test_the_reason_is_the_most_telling_line(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "server.log").write_text(log)
    assert said in reason(tmp_path / "server.log")
    assert "At:" not in reason(tmp_path / "server.log")
    assert "\n" not in reason(tmp_path / "server.log")


def test_children_of_threads_that_end_are_seen_at_every_look() -> None:
    starts = (
        "import subprocess, sys, threading\n"
        "started = []\n"
        "for _ in range(60):\n"
        "    thread = threading.Thread(target=lambda: started.append(subprocess.Popen(['sleep', '600'])))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "sys.stdin.read()\n"
        "for each in started:\n"
        "    each.kill()\n"
        "    each.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", starts], stdin=subprocess.PIPE) as process:
        seen: set[int] = set()
        while len(seen) < 60:
            found = children(process.pid)
            assert len(found) == len(set(found)) and seen <= set(found)
            seen |= set(found)


def test_serving_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "pandas", "faiss", "merlin", "tritonclient", "pytriton", "onnxruntime")
    code = (
        "import sys, ensemble.serving.server, cascade_client, ensemble.serving.commands\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_processes_of_a_command_that_has_ended_may_write_what_they_have(tmp_path: Path) -> None:
    written, scratch = tmp_path / "written", tmp_path / "scratch"
    scratch.mkdir()
    writes = (
        "import os, pathlib, sys, time\n"
        "first = os.getppid()\n"
        "print(flush=True)\n"
        "while os.getppid() == first: time.sleep(0.001)\n"
        f"pathlib.Path({str(written)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    ends = (
        "import os, signal, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {writes!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    waits = (
        "import os, sys; from pathlib import Path; from ensemble.serving import supervisor as s; s.LAST_WRITES_S = 2.0;"
        f"sys.exit(s.supervise(os.getppid(), 1.0, Path({str(scratch)!r}), [sys.executable, '-c', {ends!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", waits], check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert written.exists()
