"""`cascade evaluate`: the chain against its baselines on the test split."""

from __future__ import annotations

from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, JsonOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.errors import ConfigError
from workflows.core.run import Run
from workflows.core.shown import print_json

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
    json: JsonOption = False,
) -> None:
    """Measure the chain, retrieval alone and the baselines; write the report.

    With --json standard output has report/metrics.json.
    """
    if peers:
        raise ConfigError("--peers is now --baselines; rename it")
    given = [*overrides, *(["evaluate.baselines.use=true"] if baselines else [])]
    run, resolved = resolve(config, out, given)
    evaluate_stage(run, resolved, force)
    if json:
        from ensemble.evaluation.metrics_file import read_metrics

        print_json(read_metrics(run.folder("report")))


if __name__ == "__main__":
    run_alone(evaluate)
