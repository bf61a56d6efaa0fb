"""`cascade log`: the requests that `cascade serve --log` has written, collected into Parquet and kept there."""

from __future__ import annotations

import enum
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_app
from workflows.core.shown import print_json

__all__ = ["log", "log_check", "log_collect", "log_forget", "log_import", "log_prune", "log_renew_salt", "log_verify"]

log = typer.Typer(name="log", help="The requests that a server was asked.", no_args_is_help=True)

LogArgument = Annotated[Path, typer.Argument(metavar="LOG", help="Folder of `cascade serve --log`.")]
MonArgument = Annotated[Path, typer.Argument(metavar="MON", help="Folder that `cascade log collect` has made.")]


class View(str, enum.Enum):
    """Whose column names a view has, see `operations.log.views`."""

    KSERVE, DATABRICKS, SAGEMAKER = "kserve", "databricks", "sagemaker"


@log.callback()
def group() -> None:
    """The requests that a server was asked."""


@log.command("collect")
@one_sentence_errors
def log_collect(
    path: LogArgument,
    out: Annotated[Path, typer.Option("--out", metavar="MON", help="Folder for the Parquet files; made.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGTERM, looking each few seconds.")] = False,
    view: Annotated[
        list[View] | None,
        typer.Option("--view", help="Write a DuckDB view with the column names of another server too. Repeatable."),
    ] = None,
) -> None:
    """Turn what servers have written into Parquet, each request once; stopped anywhere, the same command goes on."""
    from operations.log.collect import collect, num_open
    from workflows.core import console

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT) if follow else ():
        signal.signal(signum, lambda *_: stop.set())
    num_rows = collect(path, out, follow=follow, stopped=stop.is_set, views=[each.value for each in view or ()])
    console.say(f"log collect: {num_rows:,} rows, a request and user each, are in {out}")
    if waiting := 0 if follow else num_open(path):
        console.say(
            f"log collect: {waiting:,} records are in segments that servers still write to and close within a minute; "
            "then the same command takes them"
        )


@log.command("verify")
@one_sentence_errors
def log_verify(path: Annotated[Path, typer.Argument(help="LOG or MON.")]) -> None:
    """Read every byte of a log, or of what was collected, and say what is damaged."""
    from operations.log.verify import verify

    verify(path)


@log.command("check")
@one_sentence_errors
def log_check(
    path: Annotated[
        Path, typer.Argument(metavar="LOG", help="Folder of `cascade log collect`, or Parquet with one row a slate.")
    ],
    label: Annotated[str, typer.Option("--label", help="What counts as a reward of 1 in joined feedback.")] = "click",
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the latest drawn requests.")] = 50_000,
    json: JsonOption = False,
) -> None:
    """Check that a log of drawn slates can tell what another policy would have earned; see docs/OFF_POLICY.md.

    Exit status 0: every row can be used; 1: the log cannot, or some rows are left out.
    """
    from operations.decisions.check import checked, lines
    from operations.decisions.evaluate import Source, log_at

    found = checked(log_at(Source(path, label, last)))
    if json:
        print_json(found)
    else:
        typer.echo("\n".join(lines(found)))
    if found.refused:
        raise typer.Exit(1)


@log.command("import")
@one_sentence_errors
def log_import(
    path: Annotated[Path, typer.Argument(metavar="CSV", help="A table of the Open Bandit Dataset, such as all.csv.")],
    out: Annotated[Path, typer.Option("--out", metavar="PARQUET", help="The decision log; written anew.")],
    uniform: Annotated[
        Path | None,
        typer.Option("--uniform", metavar="PARQUET", help="Also the choices of a policy that shows all items alike."),
    ] = None,
) -> None:
    """Turn another system's log of displays with propensities into the log that `evaluate-policy` reads."""
    from workflows.core import console
    from workflows.decisions.open_bandit import read_open_bandit_items, write_open_bandit, write_uniform

    table = write_open_bandit(path, out)
    console.say(f"log import: {table.num_rows:,} displays are in {out}")
    if uniform is not None:
        items = read_open_bandit_items(path, table)
        write_uniform(table, items, uniform)
        console.say(f"log import: choices among {len(items):,} items for each are in {uniform}")


@log.command("prune")
@one_sentence_errors
def log_prune(
    path: MonArgument,
    days: Annotated[int, typer.Option("--days", min=1, help="Days that stay, today among them.")] = 30,
) -> None:
    """Remove requests of days long past; versions that no other request names are no longer kept for them."""
    from operations.log.prune import prune

    prune(path, days)


@log.command("forget")
@one_sentence_errors
def log_forget(
    path: MonArgument, user: Annotated[str, typer.Option("--user-id", help="The raw id of the user.")]
) -> None:
    """Remove every row of a user, also what is still on its way."""
    from operations.log.forget import forget

    forget(path, user)


@log.command("renew-salt")
@one_sentence_errors
def log_renew_salt(path: LogArgument) -> None:
    """Make user keys with another secret from the next start or reload on, so that they name nobody for long."""
    from operations.log.salt import renew

    renew(path)


if __name__ == "__main__":
    run_app(log)
