"""`python -m benchmarks hm-tables`: made-up tables of the schema and the size of the H&M fashion data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["hm_tables"]

FolderArgument = Annotated[
    Path, typer.Argument(help="Where articles.csv, customers.csv and transactions_train.csv go.")
]
ScaleOption = Annotated[float, typer.Option("--scale", min=0.0, max=1.0, help="Of the real numbers of rows.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")]


@one_sentence_errors
def hm_tables(folder: FolderArgument, scale: ScaleOption = 1.0, seed: SeedOption = 1) -> None:
    """Write tables for configs/hm.toml; at full size 31,788,324 transactions."""
    from benchmarks.hm.write import write_tables

    write_tables(folder, scale, seed)


if __name__ == "__main__":
    typer.run(hm_tables)
