"""`cascade fit-neighbours`: what users have together -> item-item weights, the second source of candidates."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["fit_neighbours", "fit_neighbours_stage"]


def fit_neighbours_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.unused_by_data import refuse_after_features
    from models.neighbours.stage import fit_neighbours as stage

    refuse_after_features(run, config, ["neighbours"])
    stage(run, config.neighbours, force=force)


@one_sentence_errors
def fit_neighbours(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Fit the item-item source and choose how it merges with the two towers."""
    fit_neighbours_stage(*resolve(config, out, overrides), force)


if __name__ == "__main__":
    run_alone(fit_neighbours)
