"""`cascade slates`: slates of many users in a cache that web servers read."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_app
from scripts.recommend import pair

__all__ = ["slates", "slates_allot", "slates_build", "slates_refresh", "slates_status"]

slates = typer.Typer(name="slates", help="Slates in a cache that web servers read.", no_args_is_help=True)

TargetArgument = Annotated[str, typer.Argument(help="Run, model repository, or host:port of a running server.")]
CacheOption = Annotated[str, typer.Option("--cache", help="lmdb:DIR, redis://HOST:PORT/DB or dynamodb://TABLE.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="A running server of the run or repository; without, one is started.")
]
EventsOption = Annotated[
    Path | None, typer.Option("--events", help="Folder of live events; else in the run or beside the repository.")
]
DaysOption = Annotated[float, typer.Option("--active-days", min=0.0, help="A user is active so long after an event.")]


@slates.callback()
def group() -> None:
    """Slates in a cache that web servers read."""


@slates.command("build")
@one_sentence_errors
def slates_build(
    target: TargetArgument,
    cache: CacheOption,
    users: Annotated[
        str, typer.Option("--users", help="all, active, or a file: an id a line, or Parquet with a column user_id.")
    ] = "all",
    out: Annotated[Path | None, typer.Option("--out", help="Write the slates to this Parquet file too.")] = None,
    ttl: Annotated[int, typer.Option("--ttl", min=1, help="Seconds for which a slate is served.")] = 86_400,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Items of an entry; three slates by default.")
    ] = None,
    context: Annotated[
        list[str], typer.Option("--context", metavar="NAME=VALUE", help="Context for all users; repeatable.")
    ] = [],
    url: UrlOption = None,
    events: EventsOption = None,
    active_days: DaysOption = 30.0,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=64, help="Requests at once, of 32 users.")] = 8,
) -> None:
    """Make the slates of many users; stopped anywhere, the same command goes on.

    Those of a new version lie beside the old ones until all are there, and then take their place at once.
    """
    from ensemble.slates.build import Options, build

    options = Options(users, ttl, dict(map(pair, context)), items, active_days, in_flight)
    build(target, cache, options, url=url, events=events, out=out)


@slates.command("refresh")
@one_sentence_errors
def slates_refresh(
    target: TargetArgument,
    cache: CacheOption,
    url: UrlOption = None,
    events: EventsOption = None,
    active_days: DaysOption = 30.0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGTERM, looking each second.")] = False,
) -> None:
    """Make slates anew: of users with new events, and of active users whose slates expire soon."""
    from ensemble.slates.refresh import refresh

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT) if follow else ():
        signal.signal(signum, lambda *_: stop.set())
    refresh(target, cache, url=url, events=events, active_days=active_days, follow=follow, stopped=stop.is_set)


@slates.command("status")
@one_sentence_errors
def slates_status(
    cache: CacheOption,
    events: Annotated[
        Path | None, typer.Option("--events", help="Folder of live events, run or repository, to compare with.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say which version a cache has, how many slates, how old they are, and how far the refresh is."""
    from ensemble.slates.status import print_status

    print_status(cache, events, as_json=json)


@slates.command("allot")
@one_sentence_errors
def slates_allot(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory with an export of the layout fused.")],
    units: Annotated[
        Path, typer.Option("--units", help="CSV or Parquet: item_id, units, and the warehouse where there are several.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Parquet file that is written: user_id, rank, item_id, score.")],
    warehouse: Annotated[
        str, typer.Option("--warehouse", metavar="COLUMN", help="Of the users and of --units: who delivers to whom.")
    ] = "",
    shows_per_unit: Annotated[
        float, typer.Option("--shows-per-unit", min=1e-6, help="Slates that may show one unit: few who see it buy.")
    ] = 1.0,
) -> None:
    """Write slates of all users that show no item more often than there are units of it.

    Each limited item gets a price, so that it goes to users for whom it is worth most beside what else they could be
    shown; users then take turns, and what is gone is shown to nobody more.
    """
    from ensemble.slates.allotted import allot
    from workflows.core.run import Run

    allot(Run(run), units, out, warehouse=warehouse, shows_per_unit=shows_per_unit)


if __name__ == "__main__":
    run_app(slates)
