"""`cascade prepare`: tables -> checked, split and encoded features."""

from __future__ import annotations

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["prepare"]


@one_sentence_errors
def prepare(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Read, check and split the tables, then encode features with NVTabular."""
    run, resolved = resolve(config, out, overrides)
    from workflows.features.stage import prepare_features
    from workflows.tables.stage import prepare_data

    history_length = resolved.features.history_length
    prepare_data(run, resolved.data, resolved.split, resolved.shop, history_length, force=force)
    prepare_features(run, resolved.features, force=force)


if __name__ == "__main__":
    typer.run(prepare)
