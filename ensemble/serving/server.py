"""`cascade serve`: a model repository in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from workflows.core import console
from workflows.core.origins import why_stale

__all__ = ["TritonServer", "serve"]

POLL_S = 0.2


def serve(
    path: Path,
    layout: str = "fused",
    host: str = "127.0.0.1",
    http_port: int = 8000,
    grpc_port: int = 8001,
    metrics_port: int = 8002,
    log_path: Path | None = None,
) -> int:
    """Serve until a signal asks to stop; prints exactly one line on standard output, `READY` and the URLs.

    Args:
        path: a run directory with an export, or a model repository.
        layout: "fused" or "ensemble".
        host: address to listen on.
        http_port: 0 takes a free one; so do the other two.
        grpc_port: see http_port.
        metrics_port: see http_port.
        log_path: where the server's output goes; a temporary file by default.

    Returns:
        The exit status: 0 after a clean stop.

    Raises:
        ArtefactError: no repository at `path`, or an altered one.
        ServingError: the server could not start, or ended by itself; the sentence names the reason and the log.
    """
    repository = find_repository(path, layout)
    is_export = repository.is_relative_to((path / "repo").resolve())
    if is_export and (reason := why_stale(path, ["repo"])) is not None:
        console.say(f"serve: the export is served as it is, but {reason}")
    ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    server = TritonServer(repository, host=host, **ports, log_path=log_path)
    with _stop_signals() as stop:
        try:
            server.start()
            console.say(f"serve: starting tritonserver ({server.origin}), its log is {server.log_path}")
            if server.wait_ready(cancelled=stop.is_set):
                print(_ready_line(server), flush=True)
            while not stop.wait(POLL_S):
                server.check_alive()
        finally:
            server.stop()
    console.say("serve: stopped")
    return 0


def _ready_line(server: TritonServer) -> str:
    return f"READY http={server.http_url} grpc={server.grpc_url} metrics={server.metrics_url}"


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set instead of ending the process; the old handlers are put back after."""
    stop = threading.Event()

    def set_stop(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {signum: signal.signal(signum, set_stop) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
