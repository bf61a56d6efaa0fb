"""The short tables of a report for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ensemble.evaluation.tables import LABELS, best_sources, default_columns, number, was_displayed_by_chance

__all__ = ["console_tables"]

MANY_SOURCES = 4


def console_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """The means for a narrow terminal, the best in bold: first what chance displayed, then all test events, then all
    pairs where some are of items outside the catalogue.
    """
    title = f"{metrics['data']['num_users_measured']:,} test users"
    return [*_of_the_catalogue(metrics, title), *_of_all_pairs(metrics)]


def _of_all_pairs(metrics: Mapping[str, Any]) -> list[Table]:
    record = metrics.get("all_pairs", {})
    if "sources" not in record:
        return []
    title = f"over all pairs, {record['share_outside']:.1%} outside the catalogue: {record['num_users']:,} users"
    names = [f"{name}@{k}" for name in ("recall", "ndcg") for k in metrics["cutoffs"]]
    return [_console_table(record["sources"], names, title)]


def _of_the_catalogue(metrics: Mapping[str, Any], title: str) -> list[Table]:
    if not was_displayed_by_chance(metrics):
        return [_console_table(metrics["sources"], default_columns(metrics), title)]
    record, share = metrics["random_display"], f"share_of_best@{metrics['cutoffs'][0]}"
    sources = {
        source: values | {share: metrics["sources"][source][share]} if share in metrics["sources"][source] else values
        for source, values in record["sources"].items()
    }
    drawn = {name: {"value": value, "low": None, "high": None} for name, value in record["drawn"].items()}
    by_chance = _console_table(
        {**sources, "drawn": drawn},
        [*record["drawn"], *([share] if any(share in values for values in sources.values()) else [])],
        f"on what chance displayed: {record['num_positive']:,} of {record['num_displays']:,} "
        f"({record['num_users']:,} users)",
    )
    names = [name for name in default_columns(metrics) if name != share]
    everything = _console_table(metrics["sources"], names, f"second, on what the earlier policy chose to show: {title}")
    return [by_chance, everything]


def _console_table(sources: Mapping[str, Any], columns: Sequence[str], title: str) -> Table:
    """A row a metric, or a row a source where there are many."""
    if len(sources) > MANY_SOURCES:
        table = Table("source", title=title)
        names = [name for name in columns if not name.startswith("ndcg")]
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for source in sources:
            table.add_row(LABELS.get(source, source), *(_mean(sources, source, name) for name in names))
        return table
    table = Table(title=title)
    table.add_column("metric", no_wrap=True)
    for source in sources:
        table.add_column(LABELS.get(source, source), justify="right")
    for name in columns:
        table.add_row(name, *(_mean(sources, source, name) for source in sources))
    return table


def _mean(sources: Mapping[str, Any], source: str, name: str) -> str:
    text = number(sources[source][name]["value"]) if name in sources[source] else "-"
    return f"[bold]{text}[/bold]" if source in best_sources(sources, name) else text
