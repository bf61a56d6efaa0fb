"""`cascade gate`: may this run take the place of what is served?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble.evaluation.gate_config import GateConfig
from scripts.common import SetOption, one_sentence_errors
from scripts.output import run_alone

__all__ = ["STATUS", "gate"]

STATUS = {"RELEASE": 0, "HOLD": 3, "REJECT": 4}


@one_sentence_errors
def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory with a report and an export.")],
    against: Annotated[Path, typer.Option("--against", help="Model repository that serves the version to compare.")],
    log: Annotated[
        Path | None, typer.Option("--log", metavar="MON", help="Ask the latest requests of this folder again, too.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file whose section gate has limits; without it the usual ones."),
    ] = None,
    overrides: SetOption = [],
    show: Annotated[
        str,
        typer.Option(
            metavar="FAMILY",
            help="Decide nothing; print what the export and the served version say of requests, features, predictions "
            "or exposure, side by side.",
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print gate.json instead of the table.")] = False,
) -> None:
    """Compare a run with the served version and say whether it may take its place; writes RUN/gate.json.

    Exit status 0: RELEASE; 3: HOLD, nothing to gain or too little known; 4: REJECT, something is worse.
    """
    from operations.gate.gate import gate as decide
    from operations.gate.gate import look
    from operations.gate.rows import GATE_FILE
    from operations.gate.show import lines
    from workflows.core.run import Run

    if show:
        typer.echo("\n".join(look(Run(run), against, show)))
        return
    gated = decide(Run(run), against, _limits(config, overrides), log)
    typer.echo((run / GATE_FILE).read_text() if json else "\n".join(lines(gated)))
    raise typer.Exit(STATUS[gated.verdict])


def _limits(config: Path | None, overrides: list[str]) -> GateConfig:
    from ensemble.config_file import load_config, load_overrides
    from workflows.core.errors import ConfigError

    if config is not None:
        return load_config(config, overrides).gate
    if wrong := [each for each in overrides if not each.startswith("gate.")]:
        raise ConfigError(f"--set {wrong[0]}: cascade gate knows keys of [gate] alone, such as gate.max_loss=0.02")
    return load_overrides(overrides).gate


if __name__ == "__main__":
    run_alone(gate)
