"""`cascade fit-sources`: trending, latest and similar items, and whether each earns a place among the candidates."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["fit_sources", "fit_sources_stage"]


def fit_sources_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.unused_by_data import refuse_after_features
    from models.sources.stage import fit_sources as stage

    refuse_after_features(run, config, ["sources"])
    stage(run, config.sources, config.chain.num_candidates, force=force)


@one_sentence_errors
def fit_sources(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Fit the retrieval sources beside towers and item-item lists, and choose their places on the valid split."""
    fit_sources_stage(*resolve(config, out, overrides), force)


if __name__ == "__main__":
    run_alone(fit_sources)
