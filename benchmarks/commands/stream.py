"""`python -m benchmarks stream`: train at the size asked for, then measure live events on the export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.serving import SHORT_TRAINING
from scripts.common import ConfigOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["stream"]


@one_sentence_errors
def stream(
    out: OutOption,
    config: ConfigOption = Path("configs/shop.toml"),
    items: Annotated[int, typer.Option(min=1, help="Items of the simulated shop.")] = 100_000,
    users: Annotated[int, typer.Option(min=1, help="Its users.")] = 100_000,
    events: Annotated[int, typer.Option(min=1, help="Events that are folded.")] = 1_000_000,
    clicks: Annotated[int, typer.Option(min=1, help="Clicks, each before a slate.")] = 10_000,
    overrides: SetOption = [],
) -> None:
    """Measure how events come in, when slates know them, what that costs a request, and how they are kept."""
    sizes = [f"shop.num_items={items}", f"shop.num_users={users}"]
    run, resolved = resolve(config, out, [*SHORT_TRAINING, *sizes, *overrides])
    from benchmarks.result import keep
    from benchmarks.stream.measure import measure_stream
    from scripts.export import export_stage
    from scripts.run import model_stages
    from workflows.core.errors import ConfigError
    from workflows.core.lock import hold
    from workflows.core.run import STAGES

    if resolved.stream is None or resolved.features.stream:
        raise ConfigError("benchmark stream: the config needs [stream], and no [features.stream]")
    with hold(run.root, writes=STAGES):
        model_stages(run, resolved, force=False)
        export_stage(run, resolved, None, force=False)
        result = measure_stream(run, resolved, events, clicks)
        keep(result, out)


if __name__ == "__main__":
    typer.run(stream)
