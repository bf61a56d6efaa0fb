"""`python -m benchmarks slates`: slates into a cache, made anew after clicks, and read."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["slates"]


@one_sentence_errors
def slates(
    out: OutOption,
    rounds: Annotated[int, typer.Option(min=1, help="Builds, each beside the chain's own limit.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="For which the chain's limit is measured each time.")] = 5.0,
    rate: Annotated[int, typer.Option(min=1, help="Users who click each second.")] = 50,
    clicking: Annotated[float, typer.Option(min=1.0, help="Seconds for which they do.")] = 20.0,
    reads: Annotated[int, typer.Option(min=1, help="Slates that are read, one at a time.")] = 20_000,
) -> None:
    """Measure slates of an exported run whose config has a stream section: built, made anew after clicks, and read."""
    from benchmarks.result import keep
    from benchmarks.slates.measure import Settings, measure_slates
    from workflows.core.run import Run

    result = measure_slates(Run(out), Settings(rounds, seconds, rate, clicking, reads))
    keep(result, out)


if __name__ == "__main__":
    typer.run(slates)
