"""`cascade run`: every stage, one after the other."""

from __future__ import annotations

import typer

from scripts.build_index import build_index
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.evaluate import evaluate
from scripts.export import PublishOption, export
from scripts.prepare import prepare
from scripts.train_ranking import train_ranking
from scripts.train_retrieval import train_retrieval
from workflows.core import console

__all__ = ["run"]


@one_sentence_errors
def run(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    publish: PublishOption = None,
    force: ForceOption = False,
) -> None:
    """Run all stages: prepare, train-retrieval, build-index, train-ranking, evaluate, export."""
    resolve(config, out, overrides)
    for stage in (prepare, train_retrieval, build_index, train_ranking, evaluate):
        stage(config, out, overrides, force)
    export(config, out, overrides, publish, force)
    console.say(f"report: {out / 'report' / 'index.html'}")
    console.say(f"serve it: cascade serve {out}")


if __name__ == "__main__":
    typer.run(run)
