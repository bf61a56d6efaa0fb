"""`cascade tables`: the metrics of finished runs as Markdown, as docs/experiments has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.shown import print_json

__all__ = ["tables"]


@one_sentence_errors
def tables(
    runs: Annotated[list[Path], typer.Argument(help="Run directories with a report.")],
    column: Annotated[list[str], typer.Option("--column", help="Metric such as recall@10; repeatable.")] = [],
    json: JsonOption = False,
) -> None:
    """Print each run's metrics, differences with win, tie or loss, what was tuned, and how several runs differ.

    With --json: run -> the content of its report/metrics.json, of the sources the columns alone.
    """
    from ensemble.evaluation.markdown import report_text
    from ensemble.evaluation.metrics_file import columns_of, read_metrics
    from ensemble.evaluation.spread import spread_table
    from workflows.core import console
    from workflows.core.origins import why_stale
    from workflows.core.run import Run

    found = {str(root): read_metrics(Run(root).require("report")) for root in runs}
    for root in runs:
        if (reason := why_stale(root, ["report"])) is not None:
            console.say(f"tables: {reason}")
        if not json:
            print(report_text(root.name, found[str(root)], column))
    if json:
        print_json({root: columns_of(metrics, column) for root, metrics in found.items()})
    elif len(found) > 1:
        print(spread_table(found, column))


if __name__ == "__main__":
    run_alone(tables)
