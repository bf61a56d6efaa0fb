"""Dead processes of a running `cascade serve`: replaced or started again, counted, said, and given up at last."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cascade_client import CascadeClient
from ensemble.serving.backoff import Backoff, Backoffs
from ensemble.serving.control import ModelControl
from ensemble.serving.guard import _load_again, guard
from ensemble.serving.metrics import Counters, metrics_page
from ensemble.serving.stubs import PATIENCE_S, StubWatch, children
from ensemble.serving.triton import TritonServer
from tests.ensemble.serving.processes import eventually, next_process, processes_of, ready_urls, serving
from workflows.core.errors import CascadeError, ServingError

# A wait that is a test's to end.
HELD_BACK_S = 3.25
pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def repository(make_toy: Callable[..., Path]) -> Path:
    """The toy in two processes."""
    return make_toy(num_instances=2)


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository) as server:
        yield server


class Stop(threading.Event):
    """What ends a guard; says when the guard watches, and has it wait before a next try for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.watches, self.waits, self.may_go_on = threading.Event(), threading.Event(), threading.Event()
        self.may_go_on.set()

    def wait(self, timeout: float | None = None) -> bool:
        """As a guard does between two looks, and before it tries again."""
        self.watches.set()
        if timeout == HELD_BACK_S:
            self.waits.set()
            while not self.may_go_on.wait(0.05) and not self.is_set():
                continue
            return self.is_set()
        return super().wait(timeout)


@contextmanager
def guarded(
    server: TritonServer, backoff: Backoff | None = None, stop: Stop | None = None
) -> Iterator[tuple[Counters, list[Exception]]]:
    """The guard on a thread, which watches already; its counters, and what it raises."""
    counters, raised = Counters(), list[Exception]()
    stop = stop or Stop()

    def run() -> None:
        try:
            guard(server, counters, stop, backoff or Backoff())
        except CascadeError as error:
            raised.append(error)

    counters.ready = True
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert stop.watches.wait(60)
        yield counters, raised
    finally:
        stop.set()
        thread.join()


def stubs(server: TritonServer) -> list[int]:
    """Ids of the living processes of the server's models."""
    found = []
    for pid in children(server.triton_pid or -1):
        with suppress(OSError):
            if b"backend_stub" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def all_answer(server: TritonServer, num: int = 8) -> bool:
    """Whether that many requests in a row, which take turns among the processes, are answered."""
    with CascadeClient(server.grpc_url, retry=None) as client:
        return [client.recommend([3], slate_size=1)[0].item_ids for _ in range(num)] == [[3000]] * num


@pytest.mark.parametrize(("sent", "num"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGSTOP, 1)])
def test_a_dead_or_stopped_process_of_a_model_is_replaced(
    server: TritonServer,
    sent: signal.Signals,
    num: int,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready, while_loading = f"{server.http_url}/v2/health/ready", list[int]()

    def load_again(*given: Any, **named: Any) -> None:
        while_loading.append(status(ready))
        _load_again(*given, **named)

    monkeypatch.setattr("ensemble.serving.guard._load_again", load_again)
    monkeypatch.setattr("ensemble.serving.stubs.RETIREMENT_S", 3.0)
    # Both are dead before the guard speaks of one.
    monkeypatch.setattr("ensemble.serving.stubs.PATIENCE_S", 1.0 if num > 1 else PATIENCE_S)
    with guarded(server) as (counters, raised):
        before = stubs(server)
        assert len(before) == 2
        eventually(lambda: all_answer(server))
        for pid in before[:num]:
            os.kill(pid, sent)
        eventually(lambda: while_loading)
        eventually(lambda: status(ready) == 200)
        eventually(lambda: counters.ready)
        assert while_loading == [400]
        assert all_answer(server)
        assert (raised, counters.server_restarts) == ([], 0)
        assert counters.dead_processes["cascade"] == num
        # Of the load that lost a process Triton would keep the others for good.
        eventually(lambda: not set(before) & set(stubs(server)))
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("serve: ")]
    assert said == [
        f"serve: {num} process{'es' if num > 1 else ''} of 'cascade' died; loading 'cascade' again",
        "serve: all processes of 'cascade' are there again",
    ]


def test_processes_that_go_with_a_load_or_an_unload_are_not_mourned(server: TritonServer) -> None:
    watch, dead, stop = StubWatch(server.triton_pid or -1), [], threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            dead.extend(watch.poll())

    thread = threading.Thread(target=look)
    thread.start()
    with ModelControl(server.grpc_address, server.admin_key, 60) as control:
        for nonce in ("one", "two"):
            control.load_again("cascade", nonce)
            eventually(lambda: len(stubs(server)) == 2)
    stop.set()
    thread.join()
    assert dead == []


def test_a_dead_server_is_started_again_where_it_was(repository: Path) -> None:
    with TritonServer(repository) as server, guarded(server) as (counters, raised):
        ports, key, region = dict(server.ports), server.admin_key, server.log_path.parent.name
        for victim in (lambda: server.triton_pid, lambda: server.pid):
            regions = set(Path("/dev/shm").glob(f"{region}-*"))
            restarts = counters.server_restarts
            os.kill(victim() or -1, signal.SIGKILL)
            eventually(lambda before=restarts: counters.server_restarts > before and counters.ready)
            assert all_answer(server)
            assert not regions & set(Path("/dev/shm").glob(f"{region}-*"))
        assert (server.ports, server.admin_key, raised) == (ports, key, [])
        with ModelControl(server.grpc_address, key, 60) as control:
            assert control.is_ready()


def test_what_keeps_dying_is_given_up_with_one_sentence(repository: Path) -> None:
    with TritonServer(repository) as server, guarded(server, Backoff((0.0,))) as (counters, raised):
        os.kill(server.triton_pid or -1, signal.SIGKILL)
        eventually(lambda: counters.server_restarts == 1 and counters.ready)
        # The end of the server does not count for its models.
        before = stubs(server)
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: counters.dead_processes["cascade"] == 1 and counters.ready)
        eventually(lambda: stubs(server) and not set(before) & set(stubs(server)))
        os.kill(stubs(server)[0], signal.SIGKILL)
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], ServingError)
    said, log = str(raised[0]).split(" (log: ")
    assert said == "gave up after 1 tries in a row: 1 process of 'cascade' died"
    Path(log.rstrip(")")).unlink()


def test_the_command_says_ready_once_and_counts_on_its_metrics_page(make_toy: Callable[..., Path]) -> None:
    repository = make_toy()
    with serving(repository) as process:
        _, grpc_url, metrics_url = ready_urls(process)

        def page() -> str:
            with urllib.request.urlopen(metrics_url, timeout=60) as response:
                return str(response.read().decode())

        assert "cascade_ready 1\n" in page()
        assert "nv_inference_request_success" in page()
        before = processes_of(repository)
        os.kill(before["server"], signal.SIGKILL)
        eventually(lambda: "cascade_server_restarts_total 1\n" in page())
        eventually(lambda: "cascade_ready 1\n" in page())
        with CascadeClient(grpc_url, retry=None) as client:
            assert client.recommend([3], slate_size=1)[0].item_ids == [3000]
        os.kill(next_process(repository, "model", after=before.values()), signal.SIGKILL)
        eventually(lambda: 'cascade_model_process_deaths_total{model="cascade"} 1\n' in page())
        eventually(lambda: "cascade_ready 1\n" in page())
        process.terminate()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    assert "tritonserver was ended by signal 9 (SIGKILL)" in err


def test_the_metrics_page_answers_while_triton_is_away() -> None:
    counters = Counters()
    counters.dead_processes["cascade_rank"] += 2
    with metrics_page("127.0.0.1", 0, lambda: "http://127.0.0.1:1/metrics", counters) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
            lines = response.read().decode().splitlines()
        assert status(f"http://127.0.0.1:{port}/other") == 404
    assert [line for line in lines if not line.startswith("#")] == [
        "cascade_ready 0",
        "cascade_server_restarts_total 0",
        'cascade_model_process_deaths_total{model="cascade"} 0',
        'cascade_model_process_deaths_total{model="cascade_rank"} 2',
    ]


def test_a_signal_during_the_wait_ends_the_command_at_once(make_toy: Callable[..., Path]) -> None:
    repository = make_toy()
    with serving(repository) as process:
        ready_urls(process)
        killed: list[int] = []
        for _ in range(2):  # the second try comes a second later
            killed.append(next_process(repository, "server", after=killed))
            os.kill(killed[-1], signal.SIGKILL)
        process.terminate()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err


def test_a_failure_long_after_the_last_one_is_the_first_again() -> None:
    backoff = Backoff((0.0, 1.0), steady_s=60.0)
    assert [backoff.next_delay(now) for now in (0.0, 10.0)] == [0.0, 1.0]
    backoff.recovered(15.0)
    assert backoff.next_delay(80.0) == 0.0
    assert [backoff.next_delay(now) for now in (81.0, 82.0)] == [1.0, None]


def test_children_of_nobody_are_none() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert children(gone.pid) == []
    assert StubWatch(gone.pid).poll() == []


def test_a_server_whose_processes_died_is_not_ready_while_the_next_try_waits(server: TritonServer) -> None:
    stop = Stop()
    stop.may_go_on.clear()
    with guarded(server, Backoff(delays_s=(HELD_BACK_S,)), stop) as (counters, _):
        eventually(lambda: all_answer(server))
        os.kill(stubs(server)[0], signal.SIGKILL)
        assert stop.waits.wait(60)
        assert not counters.ready
        assert [status(f"{server.http_url}/v2/health/ready") for _ in range(50)] == [400] * 50
        stop.may_go_on.set()
        eventually(lambda: counters.ready)
        assert status(f"{server.http_url}/v2/health/ready") == 200


def test_each_model_has_tries_of_its_own() -> None:
    backoffs = Backoffs(Backoff((0.0, 1.0), steady_s=60.0))
    assert [backoffs.next_delay(["cascade"], now) for now in (1.0, 2.0, 3.0)] == [0.0, 1.0, None]
    assert backoffs.failures(["cascade"]) == 3
    # The deaths of the one do not use up the tries of the other; both together wait as long as the worse one.
    assert backoffs.next_delay(["cascade_events"], 4.0) == 0.0
    assert backoffs.next_delay(["cascade_events", "cascade_rank"], 5.0) == 1.0
    assert backoffs.next_delay(["cascade", "cascade_rank"], 6.0) is None
    backoffs.recovered(["cascade"], 10.0)
    assert backoffs.next_delay(["cascade"], 71.0) == 0.0
