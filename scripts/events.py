"""`cascade events`: live events to a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_app

__all__ = ["events", "events_send"]

events = typer.Typer(name="events", help="Live events to a running server.", no_args_is_help=True)


@events.callback()
def group() -> None:
    """Live events to a running server."""


@events.command("send")
@one_sentence_errors
def events_send(
    file: Annotated[Path, typer.Argument(help="NDJSON, CSV or Parquet; - is NDJSON from standard input.")],
    url: Annotated[str, typer.Option("--url", help="host:port of the gRPC endpoint, or http://host:port.")] = (
        "localhost:8001"
    ),
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Events in one request.")] = 512,
    key: Annotated[
        str | None, typer.Option("--key", envvar="CASCADE_EVENTS_KEY", help="What the server wants senders to know.")
    ] = None,
) -> None:
    """Send a file of events; stopped anywhere, the same command goes on, and no event counts twice.

    Each row is an event: user_id, item_id, and what it may say beside them (label, value, at, event_id, kind, extra,
    the stock column, context features). Refused rows are printed with their line, and make the exit status 1.
    """
    from ensemble.stream.send import send_events

    raise typer.Exit(send_events(file, url, batch, key))


if __name__ == "__main__":
    run_app(events)
