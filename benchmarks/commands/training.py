"""`python -m benchmarks training`: our loops beside one cached batch and PyTorch, and a step's cost by vocabulary."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors

__all__ = ["training"]


@one_sentence_errors
def training(
    out: OutOption,
    num_rows: Annotated[int, typer.Option(min=10_000, help="Events in memory.")] = 300_000,
    num_items: Annotated[int, typer.Option(min=1, help="Item ids in the comparison with PyTorch.")] = 10_000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each loop in a round.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="How often each loop runs, in turn.")] = 5,
    vocabulary: Annotated[list[int], typer.Option(min=1, help="Numbers of ids, ascending. Repeatable.")] = [
        100_000,
        1_000_000,
        10_000_000,
    ],
    vocabulary_steps: Annotated[int, typer.Option(min=1, help="Timed steps at each of them.")] = 8,
) -> None:
    """Time the training of both models and write examples/s to RUN/report."""
    from workflows.core.quiet import quiet

    quiet()
    from benchmarks.result import result_path
    from benchmarks.training.measure import Sizes, measure_training
    from workflows.core import console
    from workflows.core.lock import hold

    sizes = Sizes(num_rows, num_items, steps, rounds, tuple(vocabulary), vocabulary_steps)
    path = result_path(out, "training")
    with hold(out, writes=["benchmark training"]):
        measure_training(out, sizes).write(path)
    console.say(f"result: {path}")


if __name__ == "__main__":
    typer.run(training)
