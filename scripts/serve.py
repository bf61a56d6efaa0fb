"""`cascade serve`: a real Triton on an exported run or a published model repository, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone

__all__ = ["serve"]


@one_sentence_errors
def serve(
    path: Annotated[Path, typer.Argument(help="Run directory with an export, or a model repository.")],
    layout: Annotated[str, typer.Option("--layout", help="fused, ensemble or merlin; for a run directory.")] = "fused",
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 in containers.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option("--http-port", help="0 takes a free one.")] = 8000,
    grpc_port: Annotated[int, typer.Option("--grpc-port", help="0 takes a free one.")] = 8001,
    metrics_port: Annotated[int, typer.Option("--metrics-port", help="0 takes a free one.")] = 8002,
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="End when tritonserver ends: an orchestrator starts it again.")
    ] = False,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", help="Folder of live events; else CASCADE_EVENTS, else in the run or beside the repository."
        ),
    ] = None,
    events_key: Annotated[
        str | None, typer.Option("--events-key", help="What senders of events must know; else CASCADE_EVENTS_KEY.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            help="redis://, rediss:// or redis+sentinel:// URL of a state that `cascade stream run` writes; else "
            "CASCADE_STORE.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="kafka://broker:9092/topic that cascade_events writes to; else CASCADE_SOURCE.",
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", envvar="CASCADE_LOG", help="Folder to log requests and their answers to.")
    ] = None,
    log_share: Annotated[
        float, typer.Option("--log-share", envvar="CASCADE_LOG_SHARE", min=0.0, max=1.0, help="Share of them.")
    ] = 0.05,
    consumers: Annotated[
        str,
        typer.Option(
            "--consumers",
            envvar="CASCADE_LOG_CONSUMERS",
            help="Names of those who ask, a comma between two; others are 'other'.",
        ),
    ] = "",
    drop_context: Annotated[
        str,
        typer.Option(
            "--log-drop-context",
            envvar="CASCADE_LOG_DROP_CONTEXT",
            help="Context columns that are not logged; such requests do not replay.",
        ),
    ] = "",
) -> None:
    """Serve slates over HTTP and gRPC until SIGTERM or SIGINT; prints one READY line with the URLs.

    A process of the model that dies is replaced while the others answer; tritonserver is started again when it ends.
    """
    from ensemble.serving.request_log import settings_of
    from ensemble.serving.server import serve as serve_repository

    status = serve_repository(
        *(path, layout, host, http_port, grpc_port, metrics_port),
        restart=not no_restart,
        events=events,
        events_key=events_key,
        store=store,
        source=source,
        request_log=settings_of(log, log_share, consumers, drop_context),
    )
    raise typer.Exit(status)


if __name__ == "__main__":
    run_alone(serve)
