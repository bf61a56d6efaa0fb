"""`cascade monitor-files`: rules, routes and dashboards into a folder."""

from __future__ import annotations

from pathlib import Path

from operations.monitoring.dashboards import write_dashboards
from workflows.core.disk import writing

__all__ = ["CONFIGS", "write_files"]

CONFIGS = ("prometheus.yml", "rules.yml", "alertmanager.yml", "grafana/datasources.yml", "grafana/providers.yml")


def write_files(out: Path) -> list[Path]:
    """Write them; files of these names are replaced.

    Returns:
        What was written.

    Raises:
        CascadeError: the folder cannot be made or written.
    """
    with writing("monitor-files", out):
        out.mkdir(parents=True, exist_ok=True)
        for name in CONFIGS:
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text((Path(__file__).parent / name).read_text())
        return [*(out / name for name in CONFIGS), *write_dashboards(out / "dashboards")]
