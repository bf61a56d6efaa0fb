"""`cascade search`: hyper-parameters of one stage on the validation split, resumable and with pruning."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ensemble.config import Config
from ensemble.config_file import load_config
from scripts.common import ConfigOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core import console

__all__ = ["search"]

ParamOption = Annotated[
    list[str],
    typer.Option(
        "--param",
        metavar="KEY=DISTRIBUTION",
        help="A key to vary: --param 'retrieval.temperature=loguniform(0.05, 0.5)'. Repeatable; search.params in TOML.",
    ),
]
TrialsOption = Annotated[int | None, typer.Option("--trials", help="Trials in all, earlier ones included.")]


@one_sentence_errors
def search(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    param: ParamOption = [],
    trials: TrialsOption = None,
) -> None:
    """Search a stage's config keys; the run must be prepared, and the same command goes on where it stopped."""
    from ensemble.search.space import parse_param

    given = [*overrides, *([f"search.num_trials={trials}"] if trials is not None else [])]
    run, resolved = resolve(config, out, given)
    import msgspec

    params = resolved.search.params | dict(map(parse_param, param))
    resolved = msgspec.structs.replace(resolved, search=msgspec.structs.replace(resolved.search, params=params))

    def check(further: Sequence[str]) -> Config:
        return load_config(config, [*overrides, *further])

    def command(root: Path, further: Sequence[str]) -> list[str]:
        settings = [word for override in (*overrides, *further) for word in ("--set", override)]
        start = [sys.executable, "-c", "from scripts.cli import main; main()", f"train-{resolved.search.stage}"]
        return [*start, "--config", str(config), "--out", str(root), *settings]

    from ensemble.search.study import search as body

    found = body(run, resolved, check, command)
    folder = out / "search" / resolved.search.stage
    if found["best"]:
        console.say(f"search: best {found['metric']} {found['best']['value']:.5f} with {found['best']['params']}")
    console.say(f"search: tables in {folder / 'search.md'} and search.json")


if __name__ == "__main__":
    run_alone(search)
