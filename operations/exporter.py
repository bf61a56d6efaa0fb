"""The page that Prometheus reads: what is used, and what the signals say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from operations.feedback.metrics import FeedbackCollector
from operations.log.metrics import LogCollector, collected_logs
from operations.signals.metrics import SignalCollector
from operations.usage.metrics import UsageCollector
from workflows.core.errors import ServingError

__all__ = ["exported", "exporter"]


@contextmanager
def exported(folder: Path, host: str, port: int, logs: Sequence[Path] = ()) -> Iterator[int]:
    """`exporter` of all that is known of a served chain.

    Args:
        folder: MON.
        host: address to listen on.
        port: number; 0 takes a free one.
        logs: LOG folders beside those that were collected into MON.

    Yields:
        The port.

    Raises:
        ServingError: the port cannot be listened on.
    """

    def all_logs() -> list[Path]:
        return list(dict.fromkeys([*(log.absolute() for log in logs), *collected_logs(folder)]))

    own = [UsageCollector(all_logs), LogCollector(folder), SignalCollector(folder), FeedbackCollector(folder)]
    with exporter(own, host, port) as taken:
        yield taken


@contextmanager
def exporter(collectors: Sequence[Collector], host: str, port: int) -> Iterator[int]:
    """Answer GET /metrics on a thread, each time with what the collectors say then.

    Args:
        collectors: of this package.
        host: address to listen on.
        port: number; 0 takes a free one.

    Yields:
        The port.

    Raises:
        ServingError: the port cannot be listened on.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ServingError(
            f"{host}:{port} cannot be listened on ({error.strerror}); give another --port or --host"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
