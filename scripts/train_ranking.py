"""`cascade train-ranking`: features and candidates -> DLRM ranker."""

from __future__ import annotations

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["train_ranking"]


@one_sentence_errors
def train_ranking(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Train the DLRM ranker."""
    run, resolved = resolve(config, out, overrides)
    from models.ranking.stage import train_ranking as stage

    stage(run, resolved.ranking, force=force)


if __name__ == "__main__":
    typer.run(train_ranking)
