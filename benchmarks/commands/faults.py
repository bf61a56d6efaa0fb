"""`python -m benchmarks faults`: faults planted in a served chain, and what the operations say of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["faults"]


@one_sentence_errors
def faults(
    out: OutOption,
    requests: Annotated[int, typer.Option(min=1500, help="Requests a day.")] = 3_000,
    twins: Annotated[int, typer.Option(min=1, help="Times that nothing is planted.")] = 5,
    retrained: Annotated[
        list[Path], typer.Option(help="Another run of the same product that nothing is wrong with; repeatable.")
    ] = [],
) -> None:
    """Plant faults in a chain of an exported run of configs/shop.toml, and see which signals name them first."""
    from benchmarks.faults.measure import Settings
    from benchmarks.faults.result import measure_faults
    from benchmarks.result import keep, say_targets
    from workflows.core.run import Run

    settings = Settings(pool=2 * requests, each=requests, day=requests, twins=twins)
    result = measure_faults(Run(out), settings, [Run(path) for path in retrained])
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(faults)
