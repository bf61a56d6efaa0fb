"""`python -m benchmarks gate`: how often the gate says what it should."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["gate"]


@one_sentence_errors
def gate(
    out: OutOption,
    users: Annotated[str, typer.Option(help="Users that are measured, with commas; the targets are of the last.")] = (
        "5000,10000"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Candidates of each kind.")] = 50,
) -> None:
    """Put simulated candidates through the gate, with the per-user NDCG of a run that has a report."""
    from benchmarks.gate.measure import measure_gate
    from benchmarks.result import keep, say_targets
    from workflows.core.errors import RequestError
    from workflows.core.run import Run

    sizes = users.split(",")
    if not all(size.strip().isdigit() and int(size) for size in sizes):
        raise RequestError(f"--users {users}: expected whole numbers with commas between them, such as 5000,20000")
    result = measure_gate(Run(out), [int(size) for size in sizes], seeds)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(gate)
