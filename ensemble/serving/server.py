"""`cascade serve`: a model repository in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ensemble.merlin.needs import is_merlin, require_packages
from ensemble.serving.backoff import Backoff
from ensemble.serving.endpoints import Endpoints
from ensemble.serving.guard import guard
from ensemble.serving.metrics import Counters, metrics_page
from ensemble.serving.ports import held_ports
from ensemble.serving.repository import events_folder, find_repository, is_of_another_log, takes_events
from ensemble.serving.request_log import prepare_log
from ensemble.serving.signals import stop_signals
from ensemble.serving.triton import TritonServer
from ensemble.stream.addresses import source_url, store_url
from runtime.log.folder import LogSettings
from runtime.stream.folder import FOLDER_VARIABLE, KEY_VARIABLE
from runtime.stream.redis_url import read_url
from runtime.stream.store import StoreError
from runtime.stream.topic_url import TopicError, read_topic_url
from runtime.stream.topic_writer import make_producer
from workflows.core import console
from workflows.core.errors import ServingError
from workflows.core.origins import why_stale

__all__ = ["TritonServer", "serve"]

LOCAL = "127.0.0.1"
NOT_TAKEN = (
    "events go to the topic that `cascade stream run` reads; give --source for cascade_events to write there too"
)


def serve(
    path: Path,
    layout: str = "fused",
    host: str = "127.0.0.1",
    http_port: int = 8000,
    grpc_port: int = 8001,
    metrics_port: int = 8002,
    log_path: Path | None = None,
    *,
    restart: bool = True,
    events: Path | None = None,
    events_key: str | None = None,
    store: str | None = None,
    source: str | None = None,
    request_log: LogSettings | None = None,
) -> int:
    """Serve until a signal asks to stop; prints exactly one line on standard output, `READY` and the URLs.

    The line comes once, also when the server is started again later: its ports stay the same. What happens to the
    server is said on standard error and counted on the metrics page.

    Args:
        path: a run directory with an export, or a model repository.
        layout: "fused", "ensemble" or "merlin".
        host: address to listen on.
        http_port: 0 takes a free one; so do the other two.
        grpc_port: see http_port.
        metrics_port: see http_port.
        log_path: where the server's output goes; a temporary file by default.
        restart: start a server again that ended by itself; without, its end ends this function too.
        events: the folder of live events, where the repository has the model `cascade_events`; by default
            CASCADE_EVENTS, else `events` in the run or "-events" behind the name of the repository.
        events_key: what a sender of events must know; by default CASCADE_EVENTS_KEY, else nothing.
        store: the URL of a live state that `cascade stream run` writes; by default CASCADE_STORE, else the config's.
        source: the URL of the topic that it reads, which `cascade_events` writes; by default CASCADE_SOURCE, else the
            config's. With a store and without a topic, `cascade_events` is not served.
        request_log: how requests are logged; None: none is.

    Returns:
        The exit status: 0 after a clean stop.

    Raises:
        ArtefactError: no repository at `path`, or an altered one.
        ServingError: the server could not start, or ended by itself and was not or could not be started again; the
            sentence names the reason and the log. Or the layout "merlin" lacks a package.
    """
    repository = find_repository(path, layout)
    if is_merlin(repository):
        require_packages("serve: the layout 'merlin'")
    if request_log is not None:
        prepare_log(request_log, repository)
    is_export = repository.is_relative_to((path / "repo").resolve())
    if is_export and (reason := why_stale(path, ["repo"])) is not None:
        console.say(f"serve: the export is served as it is, but {reason}")
    if events is not None and not takes_events(repository):
        raise ServingError(
            f"--events was given, and {repository} takes no events; add [stream] to the config and export again"
        )
    shared = _shared_state(path, store) if takes_events(repository) else ""
    topic = _topic(path, source, shared) if takes_events(repository) else ""
    if shared and not topic and events is not None:
        raise ServingError("--events was given, and the live state is in a store, where events of a topic go; drop one")
    folder = events or Path(os.environ.get(FOLDER_VARIABLE) or events_folder(path, repository))
    key = os.environ.get(KEY_VARIABLE, "") if events_key is None else events_key
    wanted = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
    with held_ports(host, wanted) as ports, stop_signals() as stop:
        public = Endpoints(host, ports)
        server = TritonServer(
            repository,
            host=host,
            http_port=ports["http"],
            grpc_port=ports["grpc"],
            metrics_host=LOCAL,
            log_path=log_path,
            events=folder,
            events_key=key,
            store=shared,
            source=topic,
            request_log=request_log,
        )
        counters = Counters()
        try:
            # The page takes its port before the server is given free ones.
            with metrics_page(host, ports["metrics"], lambda: server.metrics_url, counters):
                server.start()
                console.say(f"serve: starting tritonserver ({server.origin}), its log is {server.log_path}")
                if request_log is not None:
                    console.say(
                        f"serve: {100 * request_log.share:.4g}% of the requests are logged to {request_log.folder}"
                    )
                if shared:
                    goes = f"cascade_events writes to {read_topic_url(topic).shown}" if topic else NOT_TAKEN
                    console.say(f"serve: the live state is in {read_url(shared).shown}; {goes}")
                elif takes_events(repository):
                    console.say(f"serve: live events are kept in {folder}")
                    if is_of_another_log(repository, folder):
                        console.say(
                            "serve: the chain's data were read from another log; with --events of that one, the events "
                            "that came to it since then count too"
                        )
                if server.wait_ready(cancelled=stop.is_set):
                    counters.ready = True
                    print(_ready_line(public), flush=True)
                    guard(server, counters, stop, Backoff(), restart=restart)
        finally:
            server.stop()
    console.say("serve: stopped")
    return 0


def _shared_state(path: Path, given: str | None) -> str:
    """The URL of the store; "" where the state is a folder.

    Raises:
        ServingError: it cannot be read, or what speaks to it is not installed.
    """
    url = store_url(path, given)
    if url:
        try:
            read_url(url)
        except StoreError as error:
            raise ServingError(str(error)) from None
        if importlib.util.find_spec("redis") is None:
            raise ServingError("the live state is in a store, and redis is not installed: uv pip install '.[redis]'")
    return url


def _topic(path: Path, given: str | None, store: str) -> str:
    """The URL of the topic that `cascade_events` writes; "" where it writes to a folder, or cannot be served.

    Raises:
        ServingError: it cannot be read, or there is no store for what comes of it.
    """
    url = source_url(path, given)
    if url and not store:
        raise ServingError("the source is a topic, whose events have their state in a store; give --store redis://...")
    if url and importlib.util.find_spec("confluent_kafka") is None:
        console.say("serve: confluent-kafka is not installed, so no events are taken in: uv pip install '.[kafka]'")
        return ""
    if url:
        try:
            make_producer(read_topic_url(url))
        except TopicError as error:
            raise ServingError(str(error)) from None
    return url


def _ready_line(server: Endpoints) -> str:
    return f"READY http={server.http_url} grpc={server.grpc_url} metrics={server.metrics_url}"
