"""The Overview: what is served, how good it is, how fresh, and what is out of its limits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from console.page import Page
from console.site import Open, Site
from ensemble.evaluation.tables import was_displayed_by_chance
from ensemble.publish import older_version
from operations.log.status import Status
from operations.signals.kinds import KINDS, diagnosis
from operations.signals.monitor import alarms, date
from operations.signals.table import load
from operations.timeline.entries import Entry, timeline
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.errors import CascadeError
from workflows.core.run import STAGES

__all__ = ["overview_page", "quality_of"]

NUM_HAPPENED = 15
NAMES = {"chain": "the whole chain", "popularity": "popularity", "item_knn": "item-item neighbours, tuned"}


def overview_page(site: Site) -> Page:
    """What is served and how it is."""
    with site.chain() as chain:
        notes: list[str] = []
        values: dict[str, Any] = {
            "served": chain.explainer.served,
            "spec": chain.explainer.nodes.spec,
            "made": _made(chain),
            "can_go_back": older_version(site.target) is not None,
        }
        values |= {"quality": quality_of(chain), "monitored": None, "notes": notes}
        values["happened"] = _happened(site, chain, notes)
        if site.monitor is not None:
            values["monitored"] = _monitored(site.monitor, notes)
        return Page("overview.html.j2", values)


def _made(chain: Open) -> list[tuple[str, str]]:
    """When each stage of the run was made, the oldest first; of a version without its run, the export alone."""
    served = chain.explainer.served
    if served.root is None:
        return [("export", served.manifest.created_at)]
    folders = [served.root / name for name in (*STAGES, "report", "repo")]
    there = [folder for folder in dict.fromkeys(folders) if (folder / MANIFEST_NAME).is_file()]
    return [(folder.name, read_manifest(folder).created_at) for folder in there]


def quality_of(chain: Open) -> dict[str, Any] | None:
    """Some figures of the report; None without one."""
    root = chain.explainer.served.root
    path = None if root is None else root / "report" / "metrics.json"
    if path is None or not path.is_file():
        return None
    metrics = json.loads(path.read_text())
    last, first = metrics["cutoffs"][-1], metrics["cutoffs"][0]
    columns = [(f"{name}@{first}", f"{name}@{first}", metrics["sources"]) for name in ("recall", "ndcg")]
    if was_displayed_by_chance(metrics):
        of_chance = metrics["random_display"]["sources"]
        columns = [(f"recall@{last} on what chance displayed", f"recall@{last}", of_chance), *columns]
    if "sources" in metrics.get("off_policy", {}):
        columns = [(f"earned@{first}", f"earned@{first}", metrics["off_policy"]["sources"]), *columns]
    return {
        "names": [title for title, _, _ in columns],
        "num_users": metrics["data"]["num_users_measured"],
        "rows": [
            (title, [sources.get(name, {}).get(metric) for _, metric, sources in columns])
            for name, title in NAMES.items()
            if name in metrics["sources"]
        ],
    }


def _happened(site: Site, chain: Open, notes: list[str]) -> list[Entry]:
    place = site.monitor or chain.explainer.served.repository
    try:
        found = timeline(place)
    except CascadeError as error:
        notes.append(str(error))
        return []
    notes += found.notes
    return found.entries[: -NUM_HAPPENED - 1 : -1]


def _monitored(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        status, rows = Status.load(folder), load(folder)
    except CascadeError as error:
        notes.append(str(error))
        return None
    wrong = [
        (
            row,
            KINDS[row.measured.signal].meaning,
            date(row.since) if row.since is not None else "",
            diagnosis(folder, row.name),
        )
        for row in alarms(rows)
    ]
    return {
        "num_rows": status.counts["rows"] if status.collected_at else None,
        "collected_min": (time.time() - status.collected_at) / 60 if status.collected_at else None,
        "last_day": date(max(row.day for row in rows)) if rows else "",
        "alarms": wrong,
    }
