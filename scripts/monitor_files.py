"""`cascade monitor-files`: what Prometheus, Alertmanager and Grafana are given to watch a served chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core import console

__all__ = ["monitor_files"]


@one_sentence_errors
def monitor_files(out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they are written.")]) -> None:
    """Write rules.yml, prometheus.yml, alertmanager.yml and Grafana's dashboards for the page of `monitor --port`."""
    from operations.monitoring.files import write_files

    for path in write_files(out):
        console.say(f"monitor-files: {path}")


if __name__ == "__main__":
    run_alone(monitor_files)
