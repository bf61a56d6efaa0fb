"""`python -m benchmarks slate-quality`: what the rules of slates do to slates, judged by the simulated shop's truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["slate_quality"]


@one_sentence_errors
def slate_quality(
    out: OutOption,
    config: Annotated[Path, typer.Option("--config", help="The shop that the run was made of.")] = Path(
        "configs/shop.toml"
    ),
    overrides: SetOption = [],
    num_queries: Annotated[int, typer.Option(min=1, help="Users that are asked for, at most.")] = 4_000,
) -> None:
    """Ask the chain of a finished run of the shop with and without rules of slates, and judge the slates."""
    from benchmarks.result import keep, say_targets
    from benchmarks.slate_quality.measure import measure_slate_quality
    from workflows.core.run import Run

    _, found = resolve(config, out, overrides)
    result = measure_slate_quality(Run(out), found, str(config), num_queries)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(slate_quality)
