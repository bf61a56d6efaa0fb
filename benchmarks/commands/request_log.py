"""`python -m benchmarks request-log`: what logging requests costs, and logged ones asked again."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["request_log"]


@one_sentence_errors
def request_log(
    out: OutOption,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds, each of new servers.")] = 12,
    slices: Annotated[int, typer.Option(min=1, help="Slices of each server in a round, in turn.")] = 6,
    requests: Annotated[int, typer.Option(min=10, help="Requests of a slice.")] = 300,
    replays: Annotated[int, typer.Option(min=10, help="Requests of each layout that are asked again.")] = 2_000,
) -> None:
    """Measure the request log of an exported run: processor time, latency, and whether every answer is given again."""
    from benchmarks.request_log.measure import Settings, measure_request_log
    from benchmarks.result import keep
    from workflows.core.run import Run

    result = measure_request_log(Run(out), Settings(rounds, slices, requests, replays))
    keep(result, out)


if __name__ == "__main__":
    typer.run(request_log)
