"""`python -m benchmarks signals`: false alarms, changes that are found, planted defects."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["signals"]


@one_sentence_errors
def signals(
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=1, help="Histories in which a change is sought.")] = 100,
    months: Annotated[int, typer.Option(min=1, help="Of them, in which nothing changes for a month.")] = 20,
    requests: Annotated[int, typer.Option(min=1000, help="Requests a day.")] = 3_000,
) -> None:
    """Simulate months of requests to an exported run of configs/shop.toml, and see what the signals say."""
    from benchmarks.result import keep
    from benchmarks.signals.measure import Settings, measure_signals
    from workflows.core.run import Run

    result = measure_signals(Run(out), Settings(seeds, min(months, seeds), requests))
    keep(result, out)


if __name__ == "__main__":
    typer.run(signals)
