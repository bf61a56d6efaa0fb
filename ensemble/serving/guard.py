"""Keep one server answering: replace dead processes of its models, start it again when it has ended, or give up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from ensemble.serving.backoff import Backoff, Backoffs
from ensemble.serving.control import ModelControl
from ensemble.serving.metrics import Counters
from ensemble.serving.stubs import Stub, StubWatch
from ensemble.serving.triton import STARTUP_TIMEOUT_S, TritonServer
from workflows.core import console
from workflows.core.errors import CascadeError, ServingError

__all__ = ["guard"]

POLL_S = 0.2
# Triton says "not ready" until the processes that were replaced are gone.
READY_TIMEOUT_S = 30.0
HOLD_TIMEOUT_S = 10.0
# What tritonserver itself is called among the things that fail; no model's name has a slash.
SERVER = ("/tritonserver",)


def guard(
    server: TritonServer, counters: Counters, stop: threading.Event, backoff: Backoff, *, restart: bool = True
) -> None:
    """Watch a server that is ready, until `stop` is set.

    Args:
        server: the server.
        counters: where what happens is counted.
        stop: set by a signal.
        backoff: how long to wait before each try, for each model and for tritonserver by itself.
        restart: whether to start tritonserver again when it has ended; processes of models are replaced in any case.

    Raises:
        ServingError: the server ended, and may not or could not be started again; or its models' processes keep dying.
    """
    watched = _Guard(server, counters, stop, backoff, restart)
    while not stop.wait(POLL_S):
        watched.look()


class _Guard:
    def __init__(
        self, server: TritonServer, counters: Counters, stop: threading.Event, backoff: Backoff, restart: bool
    ) -> None:
        self._server, self._counters, self._stop = server, counters, stop
        self._backoffs, self._restart = Backoffs(backoff), restart
        self._stubs = self._new_watch()

    def look(self) -> None:
        """Look once for a server or processes that are gone, and start them again."""
        if ending := self._server.ending():
            self._start_again(ending)
        elif dead := self._stubs.poll():
            self._replace(dead)

    def _replace(self, dead: list[Stub]) -> None:
        """New processes for the models of the dead ones, in the running server; a new server where that fails."""
        if not all(stub.model for stub in dead):
            self._start_again("a process of a model died as soon as it was started")
            return
        self._counters.ready = False
        self._counters.dead_processes.update(stub.model for stub in dead)
        models = sorted({(stub.model, stub.version) for stub in dead})
        dying = sorted({model for model, _ in models})
        names = ", ".join(f"'{model}'" for model in dying)
        was_ready = _hold(self._server)
        what = f"{len(dead)} process{'es' if len(dead) > 1 else ''} of {names} died"
        if self._wait_before_next_try(dying, what, f"loading {names} again"):
            try:
                replaced = self._stubs.of(models)
                self._unless_stopped(lambda: _load_again(self._server, models, wait=was_ready))
                self._stubs.retire(replaced)
            except CascadeError as error:
                self._start_again(self._server.ending() or f"{what}, and loading again failed: {error}")
                return
            self._recovered(dying, f"all processes of {names} are there again")

    def _start_again(self, ending: str) -> None:
        """A new server in place of one that is gone or cannot be helped."""
        self._counters.ready = False
        while self._may_start_again(ending) and self._wait_before_next_try(
            SERVER, ending, "starting tritonserver again"
        ):
            self._counters.server_restarts += 1
            try:
                self._server.restart()
                if self._server.wait_ready(cancelled=self._stop.is_set):
                    self._stubs = self._new_watch()
                    self._recovered(SERVER, "ready again")
                return
            except ServingError as error:
                ending = str(error)

    def _may_start_again(self, ending: str) -> bool:
        if not self._restart:
            raise self._server.failure(ending)
        return True

    def _wait_before_next_try(self, failing: Sequence[str], what: str, remedy: str) -> bool:
        """Say what happened and wait; false when it was stopped meanwhile.

        Raises:
            ServingError: there have been too many tries.
        """
        delay_s = self._backoffs.next_delay(failing, time.monotonic())
        if delay_s is None:
            raise self._server.failure(f"gave up after {self._backoffs.failures(failing) - 1} tries in a row: {what}")
        console.say(f"serve: {what}; {remedy}{f' in {delay_s:g} s' if delay_s else ''}")
        return not self._stop.wait(delay_s)

    def _recovered(self, failing: Sequence[str], what: str) -> None:
        if not self._stop.is_set():
            self._backoffs.recovered(failing, time.monotonic())
            self._counters.ready = True
            console.say(f"serve: {what}")

    def _new_watch(self) -> StubWatch:
        return StubWatch(self._server.triton_pid or -1)

    def _unless_stopped(self, work: Callable[[], None]) -> None:
        """Run it on a thread, so that a signal or the end of the server is not waited for behind it."""
        errors: list[CascadeError] = []

        def run() -> None:
            try:
                work()
            except CascadeError as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive() and not self._stop.is_set():
            if self._server.ending():
                raise ServingError("the server ended meanwhile")
            thread.join(POLL_S)
        if errors:
            raise errors[0]


def _hold(server: TritonServer) -> bool:
    """Put the server on hold ("not ready") before any waiting; return whether it was ready until now."""
    try:
        with ModelControl(server.grpc_address, server.admin_key, HOLD_TIMEOUT_S) as control:
            was_ready = control.is_ready()
            control.hold()
            return was_ready
    except CascadeError:  # it has ended, or hangs: loading again will find out
        return False


def _load_again(server: TritonServer, models: Collection[tuple[str, str]], *, wait: bool) -> None:
    """Load the versions again that are served, in a server on hold; `wait` until it says that it is ready."""
    with ModelControl(server.grpc_address, server.admin_key, STARTUP_TIMEOUT_S) as control:
        try:
            served = [model for model, version in models if _is_served(control, model, version)]
            with ThreadPoolExecutor(len(models)) as side_by_side:
                list(side_by_side.map(lambda model: control.load_again(model, nonce=f"{time.time_ns()}"), served))
        finally:
            control.release()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while wait and not control.is_ready():
            if time.monotonic() > deadline:
                raise ServingError(f"the server does not say that it is ready after {READY_TIMEOUT_S:g} s")
            time.sleep(POLL_S)


def _is_served(control: ModelControl, model: str, version: str) -> bool:
    """Whether this version is served still, once loads that somebody else asked for have ended."""
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while time.monotonic() < deadline:
        states = {(loaded.model, loaded.version): loaded.state for loaded in control.index()}
        if "LOADING" not in states.values():
            return states.get((model, version)) == "READY"
        time.sleep(POLL_S)
    return True
