"""report/metrics.json: how it is read, and the names that older releases gave to its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from workflows.core.errors import ArtefactError

__all__ = ["columns_of", "path_of_today", "read_metrics"]

RENAMED = {"peers": "baselines", "best_peer": "best_baseline"}


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json with today's keys, also where an older release wrote it.

    Args:
        folder: report/ of a run.

    Raises:
        ArtefactError: it cannot be read.
    """
    path = folder / "metrics.json"
    try:
        metrics = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run `cascade evaluate --force`") from None
    if isinstance(ranker := metrics.get("ranker"), dict):
        metrics["ranker"] = _of_today(ranker)
    return _of_today(metrics)


def columns_of(metrics: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """The content of metrics.json with some metrics of the sources and their differences alone.

    Args:
        metrics: the whole content.
        columns: names such as "recall@10"; empty: all.
    """
    if not columns:
        return dict(metrics)
    found = dict(metrics)
    for part in ("sources", "chain_minus", "retrieval_minus"):
        tables = metrics.get(part, {})
        found[part] = {source: {name: of[name] for name in columns if name in of} for source, of in tables.items()}
    return found


def path_of_today(path: str) -> str:
    """A path into metrics.json, keys with dots between them, with today's name for each key."""
    return ".".join(RENAMED.get(key, key) for key in path.split("."))


def _of_today(record: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(key, key): value for key, value in record.items()}
