"""`python -m benchmarks soak-operations`: server, collector, monitor and all commands beside them for a long time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import ConfigOption, OutOption, one_sentence_errors, resolve

__all__ = ["soak_operations"]


@one_sentence_errors
def soak_operations(
    out: OutOption,
    config: ConfigOption = Path("configs/shop.toml"),
    minutes: Annotated[float, typer.Option(min=0.5, help="For which it goes on.")] = 60.0,
    rate: Annotated[float, typer.Option(min=1.0, help="Slates a second.")] = 20.0,
) -> None:
    """Operate a served export of configs/shop.toml: nothing lost, no slate wrong, no growth of memory or files."""
    from benchmarks.operating.soak import measure_operations
    from benchmarks.result import keep, say_targets

    run, resolved = resolve(config, out, [])
    result = measure_operations(run, resolved, config, minutes, rate)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(soak_operations)
