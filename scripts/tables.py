"""`cascade tables`: the metrics of finished runs as Markdown, as docs/QUALITY.md holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["tables"]


@one_sentence_errors
def tables(
    runs: Annotated[list[Path], typer.Argument(help="Run directories with a report.")],
    column: Annotated[list[str], typer.Option("--column", help="Metric such as recall@10; repeatable.")] = [],
) -> None:
    """Print one Markdown table a run, with 95% intervals by user bootstrap, and the ranker's figures."""
    import msgspec

    from ensemble.evaluation.tables import markdown_table
    from workflows.core.run import Run

    for root in runs:
        metrics = msgspec.json.decode((Run(root).require("report") / "metrics.json").read_bytes())
        print(f"### {root.name}: {metrics['data']['num_users_measured']:,} test users\n")
        print(markdown_table(metrics, column))
        ranker = metrics["ranker"]
        rows = ranker.get("rows", "").removeprefix("rows: ")
        if "auc" in ranker:
            print(
                f"Ranker on {ranker['num_rows']:,} rows ({rows}): AUC {ranker['auc']:.4f}, logloss "
                f"{ranker['logloss']:.4f} (constant: {ranker['constant_logloss']:.4f}), expected calibration error "
                f"{ranker['expected_calibration_error']:.4f}.\n"
            )


if __name__ == "__main__":
    typer.run(tables)
