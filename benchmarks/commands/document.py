"""`python -m benchmarks document`: the page of measured speed from result files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["document"]

SourcesArgument = Annotated[list[Path], typer.Argument(help="Run directories or result files; none: the kept ones.")]
PageOption = Annotated[Path, typer.Option("--to", help="The page; results and plots are kept beside it.")]


@one_sentence_errors
def document(sources: SourcesArgument = [], page: PageOption = Path("docs/PERFORMANCE.md")) -> None:
    """Write the page and its plots from the results of runs, beside those that are kept already."""
    from benchmarks.document import gather, write_page
    from workflows.core import console

    write_page(page, gather(sources))
    console.say(f"page: {page}")


if __name__ == "__main__":
    typer.run(document)
