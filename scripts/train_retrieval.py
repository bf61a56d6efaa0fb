"""`cascade train-retrieval`: features -> two-tower model and item embeddings."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["train_retrieval", "train_retrieval_stage"]


def train_retrieval_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.unused_by_data import refuse_after_features
    from models.retrieval.stage import train_retrieval as stage

    refuse_after_features(run, config, ["retrieval"])
    stage(run, config.retrieval, force=force)


@one_sentence_errors
def train_retrieval(
    config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False
) -> None:
    """Train the two-tower model and embed the catalogue."""
    train_retrieval_stage(*resolve(config, out, overrides, by_many_processes=True), force)


if __name__ == "__main__":
    run_alone(train_retrieval)
