"""`cascade evaluate`: the chain against its baselines on the test split."""

from __future__ import annotations

from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from workflows.core.run import Run

__all__ = ["evaluate", "evaluate_stage"]


def evaluate_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.evaluation.stage import evaluate as stage

    stage(run, config, force=force)


PeersOption = Annotated[
    bool, typer.Option("--peers", help="Also tune and measure every peer, as --set evaluate.peers.use=true does.")
]


@one_sentence_errors
def evaluate(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    force: ForceOption = False,
    peers: PeersOption = False,
) -> None:
    """Measure the chain, retrieval alone and the baselines; write the report."""
    given = [*overrides, *(["evaluate.peers.use=true"] if peers else [])]
    evaluate_stage(*resolve(config, out, given), force)


if __name__ == "__main__":
    typer.run(evaluate)
