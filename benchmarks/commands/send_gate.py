"""`python -m benchmarks send-gate`: the learnt send gate beside what knows the truth of the simulated shop."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["send_gate"]


@one_sentence_errors
def send_gate(
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=1, help="How many; seed 1 first.")] = 5,
    log_users: Annotated[int, typer.Option(min=2, help="Users of each log.")] = 8_000,
    log_days: Annotated[int, typer.Option(min=1, help="Days of each log.")] = 60,
    users: Annotated[int, typer.Option(min=2, help="Users whom the gate meets.")] = 3_000,
    days: Annotated[int, typer.Option(min=1, help="Days that it decides for them.")] = 180,
) -> None:
    """Learn a gate from a log a seed and let it decide for others; the same command goes on where it was ended."""
    from benchmarks.result import keep, say_targets
    from benchmarks.send_gate.measure import measure_send_gate
    from benchmarks.send_gate.seeds import Setting

    result = measure_send_gate(out, Setting(log_users, log_days, users, days), seeds)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(send_gate)
