"""`cascade evaluate`: the chain against its baselines on the test split."""

from __future__ import annotations

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["evaluate"]


@one_sentence_errors
def evaluate(config: ConfigOption, out: OutOption, overrides: SetOption = [], force: ForceOption = False) -> None:
    """Measure the chain, retrieval alone and the baselines; write the report."""
    run, resolved = resolve(config, out, overrides)
    from ensemble.evaluation.stage import evaluate as stage

    stage(run, resolved, force=force)


if __name__ == "__main__":
    typer.run(evaluate)
