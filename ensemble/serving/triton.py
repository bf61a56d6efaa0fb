"""A real Triton Inference Server as a child process: started, waited for, stopped, never left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ensemble.serving import supervisor
from ensemble.serving.arguments import ADMIN_HEADER, GRPC_HEADER_PREFIX, server_arguments
from ensemble.serving.binary import TritonBinary, find_triton, server_environment
from ensemble.serving.endpoints import Endpoints
from ensemble.serving.ports import accepts, held_ports
from ensemble.serving.repository import MODEL_NAME, blocked_file, has_send_gate, takes_events
from ensemble.serving.server_log import has_crashed, how_it_ended, reason
from ensemble.serving.stubs import children
from ensemble.serving.variants import load_variants
from ensemble.serving.workspace import link, make_workspace
from runtime.blocked import BLOCKED_VARIABLE
from runtime.log.folder import FOLDER_VARIABLE as LOG_VARIABLE
from runtime.log.folder import LogSettings
from runtime.send_gate.spec import GATE_MODEL
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.folder import FOLDER_VARIABLE, KEY_VARIABLE
from runtime.stream.redis_url import STORE_VARIABLE
from runtime.stream.topic_url import SOURCE_VARIABLE
from workflows.core import console
from workflows.core.errors import ServingError

__all__ = ["STARTUP_TIMEOUT_S", "TritonServer"]

STARTUP_TIMEOUT_S = 300.0
STOP_GRACE_S = 15.0
PORTS_TIMEOUT_S = 5.0
# How often a start that a crash ended is tried again: on a busy machine one of 24 ended in the Python backend.
FURTHER_STARTS = 2
POLL_S = 0.05
ADMIN_KEY_VARIABLE = "CASCADE_ADMIN_KEY"
MODELS = "models"
# A probe of our own server must not go through the user's proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class TritonServer(Endpoints):
    """One tritonserver on one model repository. Use as a context manager: ready inside, gone after.

    Args:
        repository: folder of models; the one called `cascade`, and what it is made of, is loaded.
        host: address to listen on.
        http_port: 0 takes a free one; so do the other two.
        grpc_port: see http_port.
        metrics_port: see http_port.
        metrics_host: where another address is meant for the metrics.
        log_path: where the server's output goes; by default a temporary file, kept only when the server failed.
        events: the folder of live events; with it `cascade_events` is loaded as well, where the repository has it.
        events_key: what a sender of events must know; nothing by default.
        reads_events: a folder of live events that the chain reads and another server writes.
        store: the URL of the live state where it is not in the folder.
        source: the URL of the topic that `cascade_events` writes where there is a store; without, it is not loaded.
        request_log: how requests are logged; None: none is.
    """

    def __init__(
        self,
        repository: Path,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        metrics_host: str | None = None,
        log_path: Path | None = None,
        events: Path | None = None,
        events_key: str = "",
        reads_events: Path | None = None,
        store: str = "",
        source: str = "",
        request_log: LogSettings | None = None,
    ) -> None:
        super().__init__(host, {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}, metrics_host)
        self.repository = repository
        self.admin_key = os.environ.get(ADMIN_KEY_VARIABLE) or secrets.token_hex(16)
        self._given_log_path = log_path
        self._live = {} if reads_events is None else {FOLDER_VARIABLE: str(reads_events.absolute())}
        # The server is shown a link to the repository, beside which there is nothing.
        self._blocked = os.environ.get(BLOCKED_VARIABLE) or str(blocked_file(repository.resolve()))
        self._models = [MODEL_NAME]
        if store:
            self._live = {STORE_VARIABLE: store}
        if events is not None and takes_events(repository) and (source or not store):
            own = {STORE_VARIABLE: store, SOURCE_VARIABLE: source}
            self._live = {**own, FOLDER_VARIABLE: str(events.absolute()), KEY_VARIABLE: events_key}
            self._models.append(EVENTS_MODEL)
        if has_send_gate(repository):
            self._models.append(GATE_MODEL)
        self._logs = request_log is not None
        # A server that is not asked to log does not, whatever this process was told.
        self._live |= request_log.variables() if request_log else {LOG_VARIABLE: ""}
        self._process: subprocess.Popen | None = None
        self._workspace: Path | None = None
        self._binary: TritonBinary | None = None
        self._kept_log: Path | None = None
        # Its ports are its own until it is stopped: before it listens, and while it is started again.
        self._held = ExitStack()

    @property
    def pid(self) -> int:
        """The process under which all others of this server live.

        Raises:
            ServingError: it was not started.
        """
        if self._process is None:
            raise ServingError("this server was not started")
        return self._process.pid

    @property
    def triton_pid(self) -> int | None:
        """The tritonserver itself; None when it has ended."""
        return next(iter(children(self.pid)), None)

    @property
    def origin(self) -> str:
        """For people, where tritonserver was found; empty before the start."""
        return self._binary.origin if self._binary else ""

    @property
    def admin_headers(self) -> dict[str, str]:
        """Headers that the model control API asks for, HTTP's and gRPC's."""
        return {ADMIN_HEADER: self.admin_key, GRPC_HEADER_PREFIX + ADMIN_HEADER: self.admin_key}

    @property
    def log_path(self) -> Path:
        """Where the server's output goes."""
        if self._given_log_path is not None:
            return self._given_log_path
        return (self._workspace or Path(tempfile.gettempdir())) / "server.log"

    def start(self) -> None:
        """Start the process; returns at once.

        Raises:
            ServingError: already started, no tritonserver, a busy port, or a log that cannot be written.
        """
        if self._process is not None:
            raise ServingError("this server was already started; make another TritonServer")
        self.ports = self._hold_ports(self._held)
        try:
            self._workspace = make_workspace()
            link(self._workspace, MODELS, self.repository)
            self._binary = find_triton(self._workspace)
            self._process = self._spawn(self._workspace, self._binary, "wb")
        except BaseException:
            self._clean()
            raise

    def restart(self) -> None:
        """Start it again, on the same ports and with the same key, once what was left of it is gone; returns at once.

        Raises:
            ServingError: it was not started, or another program has taken a port.
        """
        if self._process is None or self._workspace is None or self._binary is None:
            raise ServingError("this server was not started")
        self._end(self._process)
        supervisor.remove_shared_memory(self._workspace)
        self._wait_for_ports()
        self._process = self._spawn(self._workspace, self._binary, "ab")

    def wait_ready(self, timeout_s: float = STARTUP_TIMEOUT_S, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the model answers on every port, then have the variants of experiments loaded.

        A server that crashed meanwhile, by a fault of its own rather than an error that it names, is started again.

        Args:
            timeout_s: how long to wait.
            cancelled: asked between the tries; true ends the wait.

        Returns:
            Whether the server is ready; false only when cancelled.

        Raises:
            ServingError: the server ended (with its reason), or was not ready in time.
        """
        deadline, starts_left = time.monotonic() + timeout_s, FURTHER_STARTS
        while not cancelled():
            if ending := self.ending():
                if not starts_left or not self._has_crashed():
                    raise self.failure(ending)
                starts_left -= 1
                console.say(f"serve: {ending} before it was ready; starting it once more")
                self.restart()
            if self._answers():
                # Each time: experiments have begun and ended since the last one.
                load_variants(self, self.admin_key, self.repository)
                return True
            if time.monotonic() > deadline:
                raise self.failure(f"the server was not ready within {timeout_s:.0f} s: {reason(self.log_path)}")
            time.sleep(POLL_S)
        return False

    def ending(self) -> str | None:
        """How the server ended, as one sentence; None while it lives.

        Raises:
            ServingError: it was not started.
        """
        if self._process is None:
            raise ServingError("this server was not started")
        status = self._process.poll()
        return None if status is None else how_it_ended(status, self.log_path)

    def _has_crashed(self) -> bool:
        return self._process is not None and has_crashed(self._process.poll() or 0)

    def failure(self, what: str) -> ServingError:
        """The error for a server that failed; its log is kept for the user."""
        log_path = self.log_path
        if self._given_log_path is None and self._workspace is not None:
            if self._kept_log is None:
                handle, kept = tempfile.mkstemp(prefix="cascade-serve-", suffix=".log")
                os.close(handle)
                self._kept_log = Path(kept)
            log_path = Path(shutil.copyfile(log_path, self._kept_log))
        return ServingError(f"{what} (log: {log_path})")

    def stop(self) -> None:
        """End the server and everything it started. Safe to call twice."""
        if self._process is not None:
            self._end(self._process)
            self._process = None
            self._clean()

    def __enter__(self) -> TritonServer:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, workspace: Path, binary: TritonBinary, log_mode: str) -> subprocess.Popen:
        arguments = server_arguments(
            binary,
            workspace / MODELS,
            self._models,
            hosts=self.hosts,
            ports=self.ports,
            shm_prefix=f"{workspace.name}-",
            admin_key=self.admin_key,
            forwards_log_headers=self._logs,
        )
        guard = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), str(STOP_GRACE_S), str(workspace)]
        try:
            with self.log_path.open(log_mode) as log:
                return subprocess.Popen(
                    [*guard, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=server_environment(binary, {**os.environ, BLOCKED_VARIABLE: self._blocked, **self._live}),
                    start_new_session=True,
                )
        except OSError as error:
            raise ServingError(f"{self.log_path} cannot be written ({error.strerror}); give another log file") from None

    def _hold_ports(self, held: ExitStack) -> dict[str, int]:
        """The ports, checked, chosen where 0 is asked for, and kept for as long as `held` lasts."""
        metrics = {"metrics": self.ports["metrics"]}
        others = {name: port for name, port in self.ports.items() if name not in metrics}
        if self.hosts["metrics"] == self.host:
            return held.enter_context(held_ports(self.host, self.ports))
        return held.enter_context(held_ports(self.host, others)) | held.enter_context(
            held_ports(self.hosts["metrics"], metrics)
        )

    def _wait_for_ports(self) -> None:
        """Until a server whose supervisor was killed is gone as well, which takes the kernel a short time."""
        deadline = time.monotonic() + PORTS_TIMEOUT_S
        while True:
            try:
                with ExitStack() as checked:
                    self._hold_ports(checked)
                return
            except ServingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def _answers(self) -> bool:
        """Whether the server, its models and the ports that open after HTTP's are all there."""
        for path in ("/v2/health/ready", *(f"/v2/models/{model}/ready" for model in self._models)):
            try:
                with OPENER.open(self.http_url + path, timeout=2.0) as response:
                    if response.status != 200:
                        return False
            except (urllib.error.URLError, OSError):
                return False
        return all(accepts(self.local_address(name), self.ports[name]) for name in ("grpc", "metrics"))

    def _end(self, process: subprocess.Popen) -> None:
        process.terminate()
        try:
            process.wait(STOP_GRACE_S + 5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _clean(self) -> None:
        self._held.close()
        if self._workspace is not None:
            supervisor.clean(self._workspace)
            self._workspace = None
