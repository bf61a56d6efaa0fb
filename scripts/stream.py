"""`cascade stream`: the folder of live events, its log and its state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_app

__all__ = [
    "stream",
    "stream_audit",
    "stream_backfill",
    "stream_compact",
    "stream_forget",
    "stream_rebuild",
    "stream_replay",
    "stream_run",
    "stream_status",
]

stream = typer.Typer(name="stream", help="The folder of live events, its log and its state.", no_args_is_help=True)
FolderArgument = Annotated[
    Path, typer.Argument(help="The folder of live events, or the run or published repository whose they are.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="kafka://broker:9092/topic; else CASCADE_SOURCE, else the config's.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="redis://, rediss:// or redis+sentinel:// URL; else CASCADE_STORE, else the config's."
    ),
]


@stream.command("status")
@one_sentence_errors
def stream_status(
    path: FolderArgument, source: SourceOption = None, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Say how far the log and the states are, what they hold, and whether a server writes them."""
    from ensemble.stream.status import print_status

    print_status(path, source, store, as_json=json)


@stream.command("replay")
@one_sentence_errors
def stream_replay(
    path: FolderArgument,
    check: Annotated[bool, typer.Option("--check", help="Compare with the live state, byte for byte.")] = False,
    source: SourceOption = None,
    store: StoreOption = None,
) -> None:
    """Fold the whole log into a fresh state, thrown away afterwards; with --check, it must equal the live one."""
    from ensemble.stream.replay import replay

    replay(path, source, store, check=check)


@stream.command("audit")
@one_sentence_errors
def stream_audit(path: FolderArgument, source: SourceOption = None, store: StoreOption = None) -> None:
    """Count the events of the log one by one, and compare every history, stock and window of the live state."""
    from ensemble.stream.audit import audit

    audit(path, source, store)


@stream.command("backfill")
@one_sentence_errors
def stream_backfill(
    path: Annotated[Path, typer.Argument(help="A run whose export takes in live events.")],
    events: Annotated[
        Path | None, typer.Option("--events", help="The folder of live events; by default the run's.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="How far back; by default the longest window of the features.")
    ] = None,
    source: SourceOption = None,
    store: StoreOption = None,
) -> None:
    """Put the latest events of the tables into an empty log, so that windows begin as they were trained."""
    from ensemble.stream.backfill import backfill

    backfill(path, events, days, source, store)


@stream.command("compact")
@one_sentence_errors
def stream_compact(
    path: FolderArgument,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", min=1, help="Remove events that arrived longer ago; else all stay.")
    ] = None,
    idle_days: Annotated[
        float | None,
        typer.Option("--idle-days", min=1, help="Users who did nothing for so long leave the state; else all stay."),
    ] = None,
    source: SourceOption = None,
    store: StoreOption = None,
) -> None:
    """Move the log to Parquet and copy the state, so that the log stays short; a server may go on meanwhile.

    Files of the log that are sealed go to EVENTS/parquet and, once they are in the copy of the state, leave the log.
    Users whose `forget` event has come are removed from all of them. Stopped anywhere, the same command goes on.
    """
    from ensemble.stream.housekeeping import compact_events

    compact_events(path, keep_days, source, store, idle_days)


@stream.command("forget")
@one_sentence_errors
def stream_forget(
    user: Annotated[str, typer.Argument(help="The raw id of the user.")],
    path: FolderArgument,
    url: Annotated[
        str, typer.Option("--url", help="host:port of the server that writes the folder, gRPC, or http://host:port.")
    ] = "localhost:8001",
    key: Annotated[
        str | None, typer.Option("--key", envvar="CASCADE_EVENTS_KEY", help="What the server wants senders to know.")
    ] = None,
    source: SourceOption = None,
    store: StoreOption = None,
) -> None:
    """Forget a user at once, and remove what it did from the log, Parquet, checkpoints and refused events."""
    from ensemble.stream.housekeeping import forget_user

    forget_user(path, user, url, key, source, store)


@stream.command("rebuild")
@one_sentence_errors
def stream_rebuild(path: FolderArgument, source: SourceOption = None, store: StoreOption = None) -> None:
    """Make the state anew from the log and Parquet, where a server cannot because the log no longer has all events."""
    from ensemble.stream.housekeeping import rebuild

    rebuild(path, source, store)


@stream.command("run")
@one_sentence_errors
def stream_run(
    path: FolderArgument,
    source: SourceOption = None,
    store: StoreOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Most messages of one commit.")] = 4096,
    events: Annotated[
        Path | None, typer.Option("--events", help="Folder where refused events are kept; else in the run.")
    ] = None,
) -> None:
    """Fold the events of a topic into a state that several servers read, until SIGTERM or SIGINT; as many as you like.

    Each worker reads its share of the partitions; what one that ends abruptly has not finished, another does.
    """
    from ensemble.stream.worker import run_worker

    raise typer.Exit(run_worker(path, source, store, batch, events))


if __name__ == "__main__":
    run_app(stream)
