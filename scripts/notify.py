"""`cascade notify`: which of a batch of notifications are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import GateArgument, NotifyConfigOption, SetOption, one_sentence_errors
from scripts.output import run_alone

__all__ = ["notify"]


@one_sentence_errors
def notify(
    gate: GateArgument,
    candidates: Annotated[
        Path,
        typer.Option(
            "--candidates", help="Parquet with decision_id, user_id, the gate's features, time_zone, opted_out."
        ),
    ],
    log: Annotated[
        Path, typer.Option("--log", metavar="FOLDER", help="Keeps the decisions, and how the budget stands.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Parquet file of the answer.")] = None,
    opted_out: Annotated[
        Path | None, typer.Option("--opted-out", metavar="FILE", help="Parquet with user_id: notifications are off.")
    ] = None,
    now: Annotated[
        str, typer.Option("--now", metavar="TIME", help="2026-03-01T09:00:00Z or the like; without it the clock's.")
    ] = "",
    config: NotifyConfigOption = None,
    overrides: SetOption = [],
) -> None:
    """Decide on a batch by gate, budget, caps and quiet hours; what was decided before is answered as it was."""
    from datetime import datetime, timezone

    from ensemble.config_file import load_overrides
    from models.send_gate.gate import load_gate
    from operations.notify.candidates import read_candidates, read_opted_out
    from operations.notify.notify import lines
    from operations.notify.notify import notify as decide
    from runtime.errors import BadRequest
    from runtime.stream.times import instant
    from workflows.core import console
    from workflows.core.errors import DataError

    section = load_overrides(overrides, config).send_gate.notify
    try:
        at = datetime.fromtimestamp(instant(now.encode()) / 1e9, timezone.utc) if now else datetime.now(timezone.utc)
    except BadRequest:
        raise DataError(f"--now {now!r} is no time; expected one such as 2026-03-01T09:00:00Z") from None
    learnt = load_gate(gate)
    batch = read_candidates(candidates, learnt.encoding.names)
    off = read_opted_out(opted_out) if opted_out is not None else None
    found = decide(learnt, batch, log, section, at, off, out)
    for line in lines(found, section):
        console.say(f"notify: {line}")
    console.say(f"notify: {out or found.batch or log}")


if __name__ == "__main__":
    run_alone(notify)
