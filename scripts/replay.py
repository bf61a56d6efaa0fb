"""`cascade replay`: ask logged requests again, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.shown import print_json

__all__ = ["replay"]

NOT_REPLAYABLE = 2


@one_sentence_errors
def replay(
    path: Annotated[Path, typer.Argument(metavar="MON", help="Folder that `cascade log collect` has made.")],
    request_id: Annotated[str, typer.Option("--request-id", help="Id of one request.")] = "",
    last: Annotated[int, typer.Option("--last", min=0, help="How many of the latest requests.")] = 0,
    mismatched: Annotated[
        bool, typer.Option("--mismatched", help="Those that differed when they were asked last.")
    ] = False,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Version to ask instead of the one that answered.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run directory or model repository to ask instead.")] = None,
    json: JsonOption = False,
) -> None:
    """Ask logged requests again and compare items, bits of scores and paths.

    Exit status 0: all answers are the same; 1: some differ; 2: they cannot be asked again, and why.
    """
    from operations.replay.errors import NotReplayableError
    from operations.replay.figures import figures_of, lines
    from operations.replay.replay import replay as ask_again
    from workflows.core import console
    from workflows.core.errors import RequestError

    if [bool(request_id), bool(last), mismatched].count(True) != 1:
        raise RequestError(
            "say which requests: --request-id R, --last N for the latest ones, or --mismatched for those that differed "
            "when they were asked last"
        )
    try:
        found = ask_again(path, request_id=request_id, last=last, mismatched=mismatched, version=version, run=run)
    except NotReplayableError as error:
        console.fail(str(error))
        raise typer.Exit(NOT_REPLAYABLE) from None
    for why, number in found.left_out.items():
        console.say(f"replay: {number:,} requests were left out: {why}")
    if json:
        print_json(figures_of(found))
    else:
        typer.echo("\n".join(lines(path, figures_of(found))))
    if found.differing:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_alone(replay)
