"""`python -m benchmarks why`: `cascade why` beside brute force, and how long an answer takes."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["why"]


@one_sentence_errors
def why(
    out: OutOption,
    pairs: Annotated[int, typer.Option(min=1, help="Of a user and an item, that are compared.")] = 1_000,
    timed: Annotated[int, typer.Option(min=1, help="Whole answers that are timed.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the pairs.")] = 1,
) -> None:
    """Compare `cascade why` with brute force over the artefacts of an exported run."""
    from benchmarks.result import keep, say_targets
    from benchmarks.why.measure import measure_why
    from workflows.core.run import Run

    result = measure_why(Run(out), pairs, timed, seed)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(why)
