"""`cascade build-index`: item embeddings -> FAISS index."""

from __future__ import annotations

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["build_index"]


@one_sentence_errors
def build_index(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Build the FAISS index over the item embeddings and measure its recall."""
    run, resolved = resolve(config, out, overrides)
    from models.index.stage import build_index as stage

    stage(run, resolved.index, force=force)


if __name__ == "__main__":
    typer.run(build_index)
