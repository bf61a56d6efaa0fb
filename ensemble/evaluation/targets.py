"""Targets that the config names, checked on the numbers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble.evaluation.config import TargetConfig

__all__ = ["BEST_BASELINE", "check_targets", "look_up"]

BEST_BASELINE = "best_baseline"
ALWAYS_MEASURED = {"popularity", "item_knn"}


def check_targets(metrics: Mapping[str, Any], targets: Sequence[TargetConfig]) -> list[dict[str, Any]]:
    """Compare the report with every target.

    Args:
        metrics: the content of report/metrics.json.
        targets: of the config, in order.

    Returns:
        One {"name", "value", "target", "met", "missing"} each; where a path leads nowhere (a baseline that was not
        measured), "missing" names it and "met" is null.
    """
    return [_check(metrics, target) for target in targets]


def look_up(metrics: Mapping[str, Any], path: str) -> float | None:
    """The number at a path of keys with dots between them; an estimate stands for its value; None: nothing is there.

    "best_baseline" stands for that baseline of the report with the highest mean of the metric that the path goes on
    with; it leads nowhere where only popularity and item-kNN were measured.
    """
    node: Any = metrics
    keys = path.split(".")
    for place, key in enumerate(keys):
        if key == BEST_BASELINE:
            key = _best_baseline(metrics, keys[place + 1]) if place + 1 < len(keys) else ""
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    if isinstance(node, Mapping):
        node = node.get("value")
    return float(node) if isinstance(node, int | float) else None


def _check(metrics: Mapping[str, Any], target: TargetConfig) -> dict[str, Any]:
    value = look_up(metrics, target.value)
    bound = target.bound
    limit = look_up(metrics, bound) if isinstance(bound, str) else float(bound)
    missing = target.value if value is None else bound if limit is None else None
    met = None
    if value is not None and limit is not None:
        limit *= target.times
        if target.above is not None:
            met = value > limit
        else:
            met = value >= limit if target.at_least is not None else value < limit
    return {"name": target.name or target.value, "value": value, "target": limit, "met": met, "missing": missing}


def _best_baseline(metrics: Mapping[str, Any], metric: str) -> str:
    means = {
        name: metrics["sources"][name][metric]["value"]
        for name in metrics.get("baselines", {})
        if metric in metrics["sources"].get(name, {})
    }
    return max(means, key=means.__getitem__) if means.keys() - ALWAYS_MEASURED else ""
