"""`cascade evaluate-policy`: what a policy would have earned, from the slates that another one drew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.ope.config import OpeConfig
from scripts.common import JsonOption, SetOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.shown import print_json

__all__ = ["NO_NUMBER", "evaluate_policy"]

NO_NUMBER = 3


@one_sentence_errors
def evaluate_policy(
    path: Annotated[
        Path, typer.Argument(metavar="LOG", help="Folder of `cascade log collect`, or Parquet with one row a slate.")
    ],
    policy: Annotated[
        Path,
        typer.Option("--policy", help="Run, which is asked; or Parquet with candidates and utilities; or LOG itself."),
    ],
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", min=0.0, help="At which it draws, instead of its own; 0: no chance."),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="What counts as a reward of 1 in joined feedback.")] = "click",
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the latest drawn requests.")] = 50_000,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file whose section ope has limits; without it the usual ones."),
    ] = None,
    overrides: SetOption = [],
    json: JsonOption = False,
) -> None:
    """Say what a policy would have earned a slate, with an interval, from slates that were drawn with known chances.

    Exit status 0: a number; 3: none, since LOG and the policy overlap too little, which one sentence says.
    """
    from operations.decisions.evaluate import Source
    from operations.decisions.evaluate import evaluate_policy as evaluate
    from operations.decisions.show import lines

    found = evaluate(Source(path, label, last), policy, _section(config, overrides), temperature)
    if json:
        print_json(found)
    else:
        typer.echo("\n".join(lines(found)))
    if found.found.refusal:
        raise typer.Exit(NO_NUMBER)


def _section(config: Path | None, overrides: list[str]) -> OpeConfig:
    from ensemble.config_file import load_config, load_overrides
    from workflows.core.errors import ConfigError

    if config is not None:
        return load_config(config, overrides).ope
    if wrong := [each for each in overrides if not each.startswith("ope.")]:
        raise ConfigError(
            f"--set {wrong[0]}: cascade evaluate-policy knows keys of [ope] alone, such as ope.min_ess=300"
        )
    return load_overrides(overrides).ope


if __name__ == "__main__":
    run_alone(evaluate_policy)
