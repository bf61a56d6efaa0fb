"""`python -m benchmarks serving`: train at the size asked for, serve every variant, load them in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import ConfigOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["serving"]

# Short but real: it is speed that is measured, and what is served has the same shape after one epoch and one trial.
SHORT_TRAINING = (
    *("retrieval.windows.max_epochs=1", "ranking.max_epochs=1"),
    *(
        "neighbours.l2=[200.0]",
        "neighbours.walk_powers=[0.6]",
        "neighbours.walk_shares=[0.2]",
        "neighbours.tower_shares=[0.3]",
    ),
    # The regression of 128 neighbours takes minutes at 100,000 items; the walks make the lists as long as ever.
    "neighbours.regressed=16",
)
SizeOption = Annotated[int, typer.Option(min=1)]


@one_sentence_errors
def serving(
    out: OutOption,
    config: ConfigOption = Path("configs/shop.toml"),
    items: Annotated[int, typer.Option(min=1, help="Items of the simulated shop.")] = 100_000,
    users: Annotated[int, typer.Option(min=1, help="Its users.")] = 100_000,
    candidates: Annotated[int, typer.Option(min=1, help="Items retrieved for the ranker.")] = 200,
    slate: Annotated[int, typer.Option(min=1, help="Items shown.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of one slice.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Slices of each variant under each load.")] = 5,
    compared: Annotated[int, typer.Option(min=1, help="Users whose slates are compared item for item.")] = 200,
    stock: Annotated[bool, typer.Option(help="Measure stock Merlin Systems too.")] = True,
    full_training: Annotated[bool, typer.Option(help="Train as the config says instead of briefly.")] = False,
    overrides: SetOption = [],
) -> None:
    """Measure latency, throughput, processor time, memory and start of every way to serve one chain."""
    sizes = [f"shop.num_items={items}", f"shop.num_users={users}"]
    sizes += [f"chain.num_candidates={candidates}", f"chain.slate_size={slate}"]
    training = () if full_training else SHORT_TRAINING
    run, resolved = resolve(config, out, [*training, *sizes, *overrides])
    from benchmarks.result import keep
    from benchmarks.serving.measure import measure
    from benchmarks.serving.settings import Settings
    from scripts.export import export_stage
    from scripts.run import model_stages
    from workflows.core.lock import hold
    from workflows.core.run import STAGES

    with hold(run.root, writes=STAGES):
        model_stages(run, resolved, force=False)
        export_stage(run, resolved, None, force=False)
        result = measure(run, resolved, Settings(seconds, rounds, compared, stock))
        keep(result, out)


if __name__ == "__main__":
    typer.run(serving)
