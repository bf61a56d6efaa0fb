"""`python -m benchmarks preprocess`: the features stage beside stock NVTabular, pandas and Polars."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["preprocess"]

RowsOption = Annotated[int, typer.Option("--num-rows", min=100, help="Rows of the table.")]
RoundsOption = Annotated[int, typer.Option("--rounds", min=1, help="How often each way runs, in turn.")]


@one_sentence_errors
def preprocess(out: OutOption, num_rows: RowsOption = 1_000_000, rounds: RoundsOption = 5) -> None:
    """Encode one wide table in every way, compare the outputs, and write the seconds to RUN/report."""
    from workflows.core.quiet import quiet

    quiet()
    from benchmarks.preprocess.measure import measure_preprocess
    from benchmarks.result import result_path
    from workflows.core import console
    from workflows.core.lock import hold

    path = result_path(out, "preprocess")
    with hold(out, writes=["benchmark preprocess"]):
        measure_preprocess(out, num_rows, rounds).write(path)
    console.say(f"result: {path}")


if __name__ == "__main__":
    typer.run(preprocess)
