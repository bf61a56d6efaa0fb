"""`python -m benchmarks drafts`: what a slate of two versions costs beside that of one."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["drafts"]


@one_sentence_errors
def drafts(
    out: OutOption,
    users: Annotated[int, typer.Option(min=32, help="Of the run, who are asked for.")] = 320,
    rounds: Annotated[int, typer.Option(min=1, help="Over all of them.")] = 5,
) -> None:
    """Serve an exported run beside itself, and draft slates of both: the cost of an experiment of kind interleave."""
    from benchmarks.drafts.measure import Settings, measure_drafts
    from benchmarks.result import keep, say_targets
    from workflows.core.run import Run

    result = measure_drafts(Run(out), Settings(users, rounds))
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(drafts)
