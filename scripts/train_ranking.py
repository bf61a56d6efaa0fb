"""`cascade train-ranking`: features and candidates -> DLRM ranker."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["train_ranking", "train_ranking_stage"]


def train_ranking_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.unused_by_data import refuse_after_features
    from models.ranking.stage import train_ranking as stage

    refuse_after_features(run, config, ["ranking"])
    stage(run, config.ranking, force=force)


@one_sentence_errors
def train_ranking(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Train the DLRM ranker."""
    train_ranking_stage(*resolve(config, out, overrides, by_many_processes=True), force)


if __name__ == "__main__":
    run_alone(train_ranking)
