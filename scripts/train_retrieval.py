"""`cascade train-retrieval`: features -> two-tower model and item embeddings."""

from __future__ import annotations

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["train_retrieval"]


@one_sentence_errors
def train_retrieval(
    config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False
) -> None:
    """Train the two-tower model and embed the catalogue."""
    run, resolved = resolve(config, out, overrides)
    from models.retrieval.stage import train_retrieval as stage

    stage(run, resolved.retrieval, force=force)


if __name__ == "__main__":
    typer.run(train_retrieval)
