"""`python -m benchmarks experiments`: how often experiments are decided, rightly and wrongly."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["experiments"]


@one_sentence_errors
def experiments(
    out: OutOption,
    runs: Annotated[int, typer.Option(min=1, help="Experiments of each kind.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 1,
) -> None:
    """Put simulated experiments through the statistics: nothing differs, something does, users are lost."""
    from benchmarks.experiments.measure import measure_experiments
    from benchmarks.result import keep, say_targets

    result = measure_experiments(runs, seed)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(experiments)
