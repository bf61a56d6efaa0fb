"""`python -m benchmarks failures`: kills, full disks, damaged versions and bad clients of a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import ConfigOption, OutOption, one_sentence_errors, resolve

__all__ = ["failures"]


@one_sentence_errors
def failures(
    out: OutOption,
    config: ConfigOption = Path("configs/shop.toml"),
    only: Annotated[str, typer.Option("--only", help="Those whose names hold this.")] = "",
) -> None:
    """Break things around a served export of configs/shop.toml, and count wrong slates and what is lost."""
    from benchmarks.failures.measure import theatre_of
    from benchmarks.failures.result import measure_failures
    from benchmarks.result import keep, say_targets

    run, resolved = resolve(config, out, [])
    result = measure_failures(theatre_of(run, resolved, config), only)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(failures)
