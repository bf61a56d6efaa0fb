"""`cascade shadow`: what a run would answer to logged requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.shown import print_json

__all__ = ["shadow"]


@one_sentence_errors
def shadow(
    path: Annotated[Path, typer.Argument(metavar="MON", help="Folder that `cascade log collect` has made.")],
    run: Annotated[Path, typer.Option("--run", help="Run directory, or model repository, of the candidate.")],
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the latest requests.")] = 5_000,
    category: Annotated[
        str, typer.Option("--category", help="Column of the items; without it the one called category, if any.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Ask logged requests of a candidate, and show what would change; writes RUN/shadow.json.

    Nothing that serves is touched. Exit status 0, also where the candidate raises: the table says at how many requests.
    """
    from operations.shadow.shadow import lines
    from operations.shadow.shadow import shadow as compare

    found = compare(path, run, last, category)
    if json:
        print_json(found)
    else:
        typer.echo("\n".join(lines(found)))


if __name__ == "__main__":
    run_alone(shadow)
