"""`python -m benchmarks goals`: what slates in the order of what they earn are worth on the simulated shop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["goals"]


@one_sentence_errors
def goals(
    out: OutOption,
    config: Annotated[Path, typer.Option("--config", help="A shop with a section shop.returns and tasks.")] = Path(
        "configs/goals.toml"
    ),
    overrides: SetOption = [],
    num_queries: Annotated[int, typer.Option(min=1, help="Users that are asked for, at most.")] = 4_000,
) -> None:
    """Train a ranker of several tasks and one of the click alone, and judge their slates by the truth."""
    from workflows.core.errors import ConfigError
    from workflows.core.quiet import quiet

    quiet()
    from benchmarks.goals.measure import measure_goals
    from benchmarks.result import keep, say_targets
    from scripts.run import model_stages

    run, found = resolve(config, out, overrides)
    if found.data.source != "shop" or found.shop.returns is None or not found.chain.order.utility:
        raise ConfigError(
            f"{config}: expected data.source = 'shop', [shop.returns] and chain.order.utility, whose worth the truth "
            "of the shop tells; see configs/goals.toml"
        )
    result = measure_goals(out, found, str(config), num_queries, partial(model_stages, force=False))
    say_targets(result)
    keep(result, run.root)


if __name__ == "__main__":
    typer.run(goals)
