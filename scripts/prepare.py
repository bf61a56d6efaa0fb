"""`cascade prepare`: tables -> checked, split and encoded features."""

from __future__ import annotations

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core.run import Run

__all__ = ["prepare", "prepare_stage"]


def prepare_stage(run: Run, config: Config, force: bool) -> None:
    """The stage, with a config that is already checked."""
    from ensemble.export.shortage import say_shortages
    from ensemble.refuse_by_tables import refuse_by_tables
    from ensemble.unused_by_data import refuse_after_data, refuse_after_features
    from workflows.features.stage import prepare_features
    from workflows.tables.stage import prepare_data

    length = config.features.history_length
    prepare_data(run, config.data, config.split, config.shop, length, force=force, features=config.features)
    refuse_after_data(run, config)
    say_shortages(run, config)
    refuse_by_tables(run, config)
    prepare_features(run, config.features, force=force)
    refuse_after_features(run, config)


@one_sentence_errors
def prepare(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Read, check and split the tables, then encode features with NVTabular."""
    prepare_stage(*resolve(config, out, overrides), force)


if __name__ == "__main__":
    run_alone(prepare)
