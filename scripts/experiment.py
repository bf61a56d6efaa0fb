"""`cascade experiment`: two versions side by side, looked at as often as one likes, taken back when one is worse."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from scripts.common import JsonOption, SetOption, one_sentence_errors
from scripts.output import run_app
from workflows.core.errors import ConfigError
from workflows.core.shown import print_json

if TYPE_CHECKING:
    from operations.experiments.release import Servers

__all__ = [
    "experiment",
    "experiment_advance",
    "experiment_check",
    "experiment_start",
    "experiment_status",
    "experiment_stop",
    "experiment_watch",
]

experiment = typer.Typer(name="experiment", help="Two versions side by side.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of a section experiments.NAME.")]
ConfigOption = Annotated[Path, typer.Option("--config", help="TOML file with a section experiments.NAME.")]
RepoOption = Annotated[Path, typer.Option("--repo", help="Published model repository.")]
LogOption = Annotated[Path, typer.Option("--log", metavar="MON", help="Folder of `cascade log collect`.")]
UrlOption = Annotated[
    list[str], typer.Option("--url", help="gRPC endpoint of a running server; again for each. Key: CASCADE_ADMIN_KEY.")
]


@experiment.callback()
def group() -> None:
    """Two versions side by side."""


@experiment.command("check")
@one_sentence_errors
def experiment_check(
    config: ConfigOption,
    repo: RepoOption = Path("triton_repo"),
    overrides: SetOption = [],
    json: JsonOption = False,
) -> None:
    """Say which users each stage would have, and whether there is room beside the experiments that run."""
    from ensemble.config_file import load_config
    from operations.experiments.plan import lines, planned, seen_before, stages_of
    from operations.experiments.record import Record, read_record

    loaded = load_config(config, overrides)
    if not loaded.experiments:
        raise ConfigError(f"--config {config}: there is no section [experiments.NAME], which says what is compared")
    record = read_record(repo) if repo.is_dir() else Record()
    running = {one.name: one for one in record.experiments}
    plans = [running.get(name) or planned(loaded, name, record) for name in loaded.experiments]
    seen = {plan.name: "" if plan.name in running else seen_before(plan, record) for plan in plans}
    if json:
        stages = [stages_of(plan, loaded.holdout.share) for plan in plans]
        print_json([msgspec.structs.replace(one, problem=seen[one.name]) for one in stages])
        return
    for plan in plans:
        for line in lines(plan, loaded.holdout.share):
            typer.echo(line)
        if why := seen[plan.name]:
            typer.echo(f"  {why}")


@experiment.command("start")
@one_sentence_errors
def experiment_start(
    name: NameArgument,
    config: ConfigOption,
    repo: RepoOption = Path("triton_repo"),
    layout: Annotated[str, typer.Option("--layout", help="Of the exports of the variants.")] = "fused",
    url: UrlOption = [],
    overrides: SetOption = [],
) -> None:
    """Serve the runs of the variants beside the served version, and send the users of the first stage to them."""
    from ensemble.config_file import load_config
    from ensemble.variants import EXPERIMENTS_FILE
    from operations.experiments.plan import lines
    from operations.experiments.release import start
    from workflows.core import console

    loaded = load_config(config, overrides)
    running = start(loaded, name, repo, layout, _servers(url))
    for line in lines(running, loaded.holdout.share):
        typer.echo(line)
    console.say(f"experiment: clients read {repo / EXPERIMENTS_FILE}")


@experiment.command("status")
@one_sentence_errors
def experiment_status(
    name: NameArgument,
    log: LogOption,
    repo: RepoOption = Path("triton_repo"),
    acknowledge: Annotated[
        str, typer.Option("--acknowledge", metavar="REASON", help="Show what differs though users were lost.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Look at an experiment; writes MON/experiments/NAME.html."""
    from operations.experiments.show import is_hidden, lines
    from operations.experiments.watch import look_at

    running, history, taken = look_at(log, repo, name, acknowledge)
    if json:
        shown = msgspec.structs.replace(taken, metric=[], guardrails=[]) if is_hidden(taken, history) else taken
        print_json(shown)
        return
    for line in lines(running, taken, history):
        typer.echo(line)


@experiment.command("advance")
@one_sentence_errors
def experiment_advance(
    name: NameArgument,
    log: LogOption,
    repo: RepoOption = Path("triton_repo"),
    override: Annotated[str, typer.Option("--override", metavar="REASON", help="Though it is not due.")] = "",
) -> None:
    """Go to the next stage, when the present one has had its hours and slates and nothing got worse."""
    from operations.experiments.watch import advance
    from workflows.core import console

    running = advance(log, repo, name, override)
    console.say(f"experiment: {name} is at stage {running.stage + 1} of {len(running.stages)}")


@experiment.command("stop")
@one_sentence_errors
def experiment_stop(
    name: NameArgument,
    repo: RepoOption = Path("triton_repo"),
    keep: Annotated[str, typer.Option("--keep", metavar="VARIANT", help="Serve this variant to all.")] = "",
    url: UrlOption = [],
) -> None:
    """End an experiment: all users are served the served version, or the variant that is kept."""
    from operations.experiments.release import keep as keep_variant
    from operations.experiments.release import stop
    from workflows.core import console

    if keep:
        keep_variant(repo, name, keep, _servers(url))
    else:
        stop(repo, name, _servers(url))
    console.say(f"experiment: {name} has ended")


@experiment.command("watch")
@one_sentence_errors
def experiment_watch(
    name: NameArgument,
    log: LogOption,
    repo: RepoOption = Path("triton_repo"),
    url: UrlOption = [],
    every: Annotated[float, typer.Option("--every", min=0.0, help="Seconds between two looks.")] = 60.0,
    looks: Annotated[int, typer.Option("--looks", min=0, help="How many; 0: until SIGTERM.")] = 0,
    advance: Annotated[bool, typer.Option("--advance", help="Go to the next stage when it is due.")] = False,
) -> None:
    """Look again and again, and withdraw a variant at once when a guardrail of it is worse than it may be.

    Exit status 0: nothing wrong; 3: users were lost, so that nothing can be told; 4: every variant was withdrawn.
    """
    from operations.experiments.watch import watch

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    status = watch(
        *(log, repo, name, _servers(url)), looks=looks, advances=advance, wait=lambda: not stop.wait(timeout=every)
    )
    raise typer.Exit(status)


def _servers(urls: list[str]) -> Servers:
    from ensemble.serving.triton import ADMIN_KEY_VARIABLE
    from operations.experiments.release import Servers

    return Servers(urls, os.environ.get(ADMIN_KEY_VARIABLE, ""))


if __name__ == "__main__":
    run_app(experiment)
