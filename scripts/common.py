"""What the commands share: their options, and errors printed as one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from ensemble.config import Config
from ensemble.config_file import load_config
from models.training.processes import Processes
from scripts.needs import check_needs, command_name
from scripts.output import status_of
from workflows.core import console
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.own import modules_of_this_folder
from workflows.core.run import Run

__all__ = [
    "ConfigOption",
    "ForceOption",
    "GateArgument",
    "JsonOption",
    "NotifyConfigOption",
    "OutOption",
    "SetOption",
    "one_sentence_errors",
    "resolve",
]

ConfigOption = Annotated[Path, typer.Option("--config", help="TOML file of the data set, see configs/.")]
OutOption = Annotated[Path, typer.Option("--out", help="Run directory; finished stages in it are reused.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set shop.num_items=1000. Repeatable.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, the same data, and nothing else on standard output.")
]
GateArgument = Annotated[Path, typer.Argument(help="Folder of a learnt send gate, of cascade train-send-gate.")]
NotifyConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file whose section send_gate.notify counts; without it the defaults."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run again even when up to date.")]

P = ParamSpec("P")
R = TypeVar("R")


def resolve(config: Path, out: Path, overrides: list[str], *, by_many_processes: bool = False) -> tuple[Run, Config]:
    """Read and check the config; nothing heavy is imported before this has passed.

    Raises:
        ConfigError: the config cannot be used, or a launcher started several processes of a command that is for one.
    """
    modules_of_this_folder()
    found = load_config(config, overrides)
    processes = Processes.from_environment()
    if processes.size > 1 and not by_many_processes:
        raise ConfigError(
            f"a launcher started this command {processes.size} times (this is process {processes.rank + 1}): only "
            "train-retrieval and train-ranking run as several processes; start it once, without the launcher"
        )
    return Run(out), found


def one_sentence_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print an expected error as one sentence and exit with status 1; a bug keeps its traceback.

    A command that cannot run in this environment is such an error, and said before it starts.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            check_needs(command_name(command.__name__))
            return command(*args, **kwargs)
        except CascadeError as error:
            console.fail(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            console.say("stopped; finished stages are kept, run the same command again to go on")
            raise typer.Exit(130) from None
        except OSError as error:
            status = status_of(error)
            if status is None:
                raise
            raise typer.Exit(status) from None

    return wrapped
