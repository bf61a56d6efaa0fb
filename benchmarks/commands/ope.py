"""`python -m benchmarks ope`: off-policy estimates beside the truth of the simulated shop."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["ope"]


@one_sentence_errors
def ope(out: OutOption, logs: Annotated[int, typer.Option(min=2, help="Logs of each setting.")] = 500) -> None:
    """Estimate what a policy is worth from many logs of another one; the same command goes on where it was ended."""
    from benchmarks.ope.measure import measure_ope
    from benchmarks.result import keep, say_targets

    result = measure_ope(out, logs)
    say_targets(result)
    keep(result, out)


if __name__ == "__main__":
    typer.run(ope)
