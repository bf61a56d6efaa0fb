"""report/metrics.json: how it is read, and the names that older releases gave to its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from workflows.core.errors import ArtefactError

__all__ = ["path_of_today", "read_metrics"]

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


def path_of_today(path: str) -> str:
    """A path into metrics.json, keys with dots between them, with today's name for each key."""
    return ".".join(RENAMED.get(key, key) for key in path.split("."))


def _of_today(record: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(key, key): value for key, value in record.items()}
