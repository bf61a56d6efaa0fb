"""`cascade export-send-gate`: a learnt send gate as a model beside the served chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import GateArgument, NotifyConfigOption, SetOption, one_sentence_errors
from scripts.output import run_alone

__all__ = ["export_send_gate"]


@one_sentence_errors
def export_send_gate(
    gate: GateArgument,
    publish: Annotated[Path, typer.Option("--publish", help="Model repository of cascade export --publish.")],
    config: NotifyConfigOption = None,
    overrides: SetOption = [],
) -> None:
    """Publish the model cascade_gate; refused where the gate's mean effect is not that of what chance decided."""
    from ensemble.config_file import load_overrides
    from ensemble.history import utc_now
    from ensemble.publish_send_gate import publish_send_gate
    from models.send_gate.gate import load_gate
    from workflows.core import console

    section = load_overrides(overrides, config).send_gate.notify
    version = publish_send_gate(load_gate(gate), section, publish, utc_now())
    said = (
        f"has version {version} of cascade_gate; cascade reload takes it into a running server"
        if version
        else "has this gate already"
    )
    console.say(f"export-send-gate: {publish} {said}")


if __name__ == "__main__":
    run_alone(export_send_gate)
