"""`python -m benchmarks live-quality`: what features of live events are worth on the simulated shop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["live_quality"]


@one_sentence_errors
def live_quality(
    out: OutOption,
    config: Annotated[Path, typer.Option("--config", help="A shop with a section features.stream.")] = Path(
        "configs/shop_live.toml"
    ),
    overrides: SetOption = [],
    num_queries: Annotated[int, typer.Option(min=1, help="Users that are asked for, at most.")] = 4_000,
) -> None:
    """Train the chain with and without stream features, replay the test split with both, and compare the slates."""
    from workflows.core.quiet import quiet

    quiet()
    from benchmarks.live.quality import measure_live_quality
    from benchmarks.result import result_path
    from scripts.run import model_stages
    from workflows.core import console

    _, found = resolve(config, out, overrides)
    path = result_path(out, "live_quality")
    train = partial(model_stages, force=False)
    measure_live_quality(out, found, str(config), num_queries, train).write(path)
    console.say(f"result: {path}")


if __name__ == "__main__":
    typer.run(live_quality)
