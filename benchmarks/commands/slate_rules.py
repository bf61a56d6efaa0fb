"""`python -m benchmarks slate-rules`: what each rule of slates costs, alone, in a batch and in the whole chain."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["slate_rules"]


@one_sentence_errors
def slate_rules(
    out: OutOption,
    users: Annotated[int, typer.Option(min=1, help="Of the run, whose slates are made.")] = 320,
    batch: Annotated[int, typer.Option(min=1, help="Users in a batch.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Over all of them; the median counts.")] = 5,
) -> None:
    """Measure the rules of slates on the candidates of an exported run."""
    from benchmarks.result import keep, say_targets
    from benchmarks.slate_rules.measure import Settings, measure_slate_rules
    from workflows.core.run import Run

    result = measure_slate_rules(Run(out), Settings(users, batch, rounds))
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(slate_rules)
