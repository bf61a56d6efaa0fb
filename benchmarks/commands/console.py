"""`python -m benchmarks console`: how long each page of the console takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["console"]


@one_sentence_errors
def console(
    out: OutOption,
    monitor: Annotated[Path | None, typer.Option(metavar="MON", help="Folder of `cascade log collect`.")] = None,
    times: Annotated[int, typer.Option(min=1, help="That each page is asked for.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the users and items.")] = 1,
) -> None:
    """Time the pages of the console of an exported run."""
    from benchmarks.console.measure import measure_console
    from benchmarks.result import keep, say_targets
    from workflows.core.run import Run

    result = measure_console(Run(out), monitor, times, seed)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(console)
