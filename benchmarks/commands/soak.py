"""`python -m benchmarks soak`: a server with live events under events and requests for a long time."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["soak"]


@one_sentence_errors
def soak(
    out: OutOption,
    minutes: Annotated[float, typer.Option(min=2.5, help="For which the server is under load.")] = 60.0,
    load: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of what the clients reach at most.")] = 0.7,
) -> None:
    """Serve an exported run with a stream section under events and requests: no error, nothing lost, no growth."""
    from benchmarks.result import keep
    from benchmarks.stream.soak import measure_soak
    from workflows.core.run import Run

    result = measure_soak(Run(out), minutes, load)
    keep(result, out)


if __name__ == "__main__":
    typer.run(soak)
