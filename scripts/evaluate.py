"""`cascade evaluate`: the chain against its baselines on the test split."""

from __future__ import annotations

from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["evaluate", "evaluate_stage"]


def evaluate_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.evaluation.stage import evaluate as stage

    stage(run, config, force=force)


BaselinesOption = Annotated[
    bool,
    typer.Option(
        "--baselines", help="Also tune and measure every baseline, as --set evaluate.baselines.use=true does."
    ),
]
# The name that older releases gave it: refused with the new one, as a renamed key of the config is.
RenamedOption = Annotated[bool, typer.Option("--peers", hidden=True)]


@one_sentence_errors
def evaluate(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    force: ForceOption = False,
    baselines: BaselinesOption = False,
    peers: RenamedOption = False,
) -> None:
    """Measure the chain, retrieval alone and the baselines; write the report."""
    if peers:
        raise ConfigError("--peers is now --baselines; rename it")
    given = [*overrides, *(["evaluate.baselines.use=true"] if baselines else [])]
    evaluate_stage(*resolve(config, out, given), force)


if __name__ == "__main__":
    typer.run(evaluate)
