"""TritonServer as a library: several at once, model control with a key, another thread, what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cascade_client import CascadeClient
from ensemble.serving.triton import OPENER, TritonServer
from tests.ensemble.serving.processes import eventually, processes_of
from workflows.core.errors import ServingError

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]


# The first starts last for ever; each leaves a file.
SLOW_STARTS = """
import time
from pathlib import Path

quick = TritonPythonModel.initialize

def initialize(self, args):
    own = [*Path(__file__).parent.glob("start_*")]
    Path(__file__).with_name(f"start_{{len(own)}}").touch()
    time.sleep(600 if len(own) < {} else 0)
    quick(self, args)

TritonPythonModel.initialize = initialize
"""


def toy_code() -> str:
    return Path(__file__).with_name("toy_model.py").read_text()


def starts(repository: Path) -> list[Path]:
    return [*(repository / "cascade" / "1").glob("start_*")]


@contextmanager
def ended_while_it_starts(server: TritonServer, repository: Path, ends: list[signal.Signals]) -> Iterator[TritonServer]:
    """A server that was started, each of whose first starts a signal ends."""

    def end() -> None:
        for number, sign in enumerate(ends, start=1):
            eventually(lambda number=number: len(starts(repository)) == number, timeout_s=60)
            os.kill(server.triton_pid or -1, sign)

    server.start()
    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield server
    finally:
        thread.join()
        server.stop()


def first_item(server: TritonServer, user_id: int = 3) -> object:
    with CascadeClient(server.grpc_url) as client:
        return client.recommend([user_id])[0].item_ids[0]


def test_two_servers_on_one_repository_answer_side_by_side(toy_repository: Path, toy_server: TritonServer) -> None:
    with TritonServer(toy_repository) as other:
        assert not set(other.ports.values()) & set(toy_server.ports.values())
        assert first_item(other) == first_item(toy_server) == 3000
    assert first_item(toy_server) == 3000


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_it_listens_on_a_name_and_on_an_address_of_ipv6(toy_repository: Path, host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with TritonServer(toy_repository, host=host) as server:
        assert first_item(server) == 3000
        with OPENER.open(f"{server.http_url}/v2/health/ready") as ready, OPENER.open(server.metrics_url) as metrics:
            assert (ready.status, metrics.status) == (200, 200)


def test_it_leaves_no_process_no_folder_and_no_shared_memory(make_toy: Callable[..., Path]) -> None:
    repository = make_toy()
    with TritonServer(repository) as server:
        workspace = server.log_path.parent
        assert list(Path("/dev/shm").glob(f"{workspace.name}-*"))
        assert {"supervisor", "server", "model"} <= processes_of(workspace).keys()
    server.stop()
    assert processes_of(workspace) == {}
    assert not workspace.exists()
    assert not list(Path("/dev/shm").glob(f"{workspace.name}-*"))


@pytest.mark.parametrize(("ends", "comes_up"), [([signal.SIGABRT] * 2, True), ([signal.SIGSEGV] * 3, False)])
def test_a_crash_before_it_is_ready_is_tried_again_twice(
    make_toy: Callable[..., Path], ends: list[signal.Signals], comes_up: bool
) -> None:
    repository = make_toy(code=toy_code() + SLOW_STARTS.format(len(ends)))
    with ended_while_it_starts(TritonServer(repository), repository, ends) as server:
        if comes_up:
            assert server.wait_ready(timeout_s=60)
            assert first_item(server) == 3000
        else:
            with pytest.raises(ServingError, match=r"tritonserver was ended by signal 11 \(SIGSEGV\)") as caught:
                server.wait_ready(timeout_s=60)
            Path(str(caught.value).partition("(log: ")[2].rstrip(")")).unlink()


def test_a_start_that_somebody_ends_is_not_tried_again(make_toy: Callable[..., Path]) -> None:
    repository = make_toy(code=toy_code() + SLOW_STARTS.format(1))
    with ended_while_it_starts(TritonServer(repository), repository, [signal.SIGKILL]) as server:
        with pytest.raises(ServingError, match="was ended by signal 9") as caught:
            server.wait_ready(timeout_s=60)
        assert len(starts(repository)) == 1
        Path(str(caught.value).partition("(log: ")[2].rstrip(")")).unlink()


def test_a_server_outlives_the_thread_that_started_it(toy_repository: Path) -> None:
    server = TritonServer(toy_repository)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert server.wait_ready()
        assert first_item(server) == 3000
    finally:
        server.stop()


def test_a_new_version_needs_the_key_and_a_broken_one_leaves_the_old_in_place(make_toy: Callable[..., Path]) -> None:
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    repository = make_toy()
    versions = repository / "cascade"
    with (
        TritonServer(repository) as server,
        triton.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as admin,
    ):
        with pytest.raises(InferenceServerException, match="restricted"):
            admin.load_model("cascade")
        # Python would take the first version's bytecode for the second's: same size, same second.
        without_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(versions / "1", versions / "2", ignore=without_bytecode)
        model = versions / "2" / "model.py"
        model.write_text(model.read_text().replace("user * 1000", "user * 5000"))
        admin.load_model("cascade", headers=server.admin_headers)
        assert first_item(server) == 15000
        shutil.copytree(versions / "2", versions / "3", ignore=without_bytecode)
        (versions / "3" / "model.py").write_text("raise ValueError('broken')\n")
        with pytest.raises(InferenceServerException):
            admin.load_model("cascade", headers=server.admin_headers)
        assert first_item(server) == 15000


def test_a_server_is_started_once(toy_server: TritonServer) -> None:
    with pytest.raises(ServingError, match="already started"):
        toy_server.start()


def test_not_ready_in_time_is_an_error_and_ends_the_server(make_toy: Callable[..., Path]) -> None:
    repository = make_toy(code="import time\ntime.sleep(60)\n")
    server = TritonServer(repository)
    server.start()
    workspace = server.log_path.parent
    try:
        with pytest.raises(ServingError, match="was not ready within 1 s") as caught:
            server.wait_ready(timeout_s=1.0)
    finally:
        server.stop()
    assert processes_of(workspace) == {}
    log = Path(str(caught.value).rpartition("log: ")[2].rstrip(")"))
    assert log.parent == Path(tempfile.gettempdir())
    log.unlink()
