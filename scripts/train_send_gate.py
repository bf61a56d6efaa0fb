"""`cascade train-send-gate`: learn from a log of notifications when one is not worth sending."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import SetOption, one_sentence_errors
from scripts.output import run_alone

__all__ = ["train_send_gate"]


@one_sentence_errors
def train_send_gate(
    log: Annotated[Path, typer.Argument(help="Folder with decisions.parquet and activity.parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Where send_gate.json is written.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file whose section send_gate counts; without it the defaults."),
    ] = None,
    overrides: SetOption = [],
) -> None:
    """Learn heads and prices; nothing is written where they contradict what chance decided."""
    from ensemble.config_file import load_overrides
    from models.send_gate.gate import learn
    from models.send_gate.log import read_push_log
    from models.send_gate.say import lines, refuse_contradiction
    from workflows.core import console
    from workflows.core.disk import check_folder, writing

    section = load_overrides(overrides, config).send_gate
    check_folder("the send gate", out)
    gate = learn(read_push_log(log, section.features), section)
    for line in lines(gate):
        console.say(f"train-send-gate: {line}")
    refuse_contradiction(gate)
    with writing("the send gate", out):
        out.mkdir(parents=True, exist_ok=True)
        gate.save(out)
    console.say(f"train-send-gate: {out / 'send_gate.json'}")


if __name__ == "__main__":
    run_alone(train_send_gate)
