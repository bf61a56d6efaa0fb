"""`python -m benchmarks catalogue`: what each cost of a served chain grows like with the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import OutOption, one_sentence_errors
from workflows.core.errors import ConfigError

__all__ = ["catalogue"]

SizesOption = Annotated[str, typer.Option(help="Numbers of items, separated by commas; kept ones are not run again.")]


@one_sentence_errors
def catalogue(out: OutOption, sizes: SizesOption = "10000,100000,1000000,10000000") -> None:
    """Build, index and serve catalogues of growing size, and fit how every cost grows."""
    numbers = _numbers(sizes)
    from benchmarks.catalogue.measure import measure_catalogue
    from benchmarks.result import result_path
    from workflows.core import console
    from workflows.core.lock import hold

    path = result_path(out, "catalogue")
    with hold(out, writes=["benchmark catalogue"]):
        measure_catalogue(out, numbers).write(path)
    console.say(f"result: {path}")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"--sizes must be whole numbers from 1 on, separated by commas, got {text!r}")
    return numbers


if __name__ == "__main__":
    typer.run(catalogue)
