"""`cascade build-index`: item embeddings -> FAISS index."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["build_index", "build_index_stage"]


def build_index_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.export.eligibility import index_workload
    from ensemble.unused_by_data import refuse_after_features
    from models.index.stage import build_index as stage

    refuse_after_features(run, config, ["index"])
    stage(run, config.index, index_workload(run, config), force=force)


@one_sentence_errors
def build_index(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Measure how the item embeddings are searched best, filters on, and build the FAISS index for it."""
    build_index_stage(*resolve(config, out, overrides), force)


if __name__ == "__main__":
    run_alone(build_index)
