"""Compare runs of one setting that differ in the seed: a real difference exceeds the spread between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ensemble.evaluation.tables import INFORMED, LABELS, default_columns, number

__all__ = ["spread_table"]

CHAIN = "chain"


def spread_table(runs: Mapping[str, Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Mean and range of every source over the runs, then the chain minus each source, run by run.

    Args:
        runs: name of a run -> the content of its report/metrics.json, two runs at least.
        columns: metric names such as "recall@10"; empty: the default ones of the first run.
    """
    sources = {name: metrics["sources"] for name, metrics in runs.items()}
    first = next(iter(runs.values()))
    columns = list(columns) or default_columns(first)
    shared = [source for source in first["sources"] if all(source in found for found in sources.values())]
    lines = [f"| {len(runs)} runs: mean (lowest to highest) | " + " | ".join(columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for source in shared:
        cells = [_range(_values(sources, source, name)) for name in columns]
        lines.append(f"| {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    for source in shared:
        if source not in (CHAIN, INFORMED) and CHAIN in shared:
            cells = [_gaps(_values(sources, CHAIN, name), _values(sources, source, name)) for name in columns]
            lines.append(f"| {LABELS[CHAIN]} minus {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _values(sources: Mapping[str, Any], source: str, name: str) -> list[float]:
    """The metric in every run that has it."""
    found = (run[source].get(name) for run in sources.values())
    return [estimate["value"] for estimate in found if estimate is not None and estimate["value"] is not None]


def _range(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{number(float(np.mean(values)))} ({number(min(values))} to {number(max(values))})"


def _gaps(values: list[float], others: list[float]) -> str:
    """Every difference with its sign: three of one sign say more than their mean."""
    if not values or len(values) != len(others):
        return "-"
    return ", ".join(f"{value - other:+.4f}" for value, other in zip(values, others, strict=True))
