"""The Item page: what is known of an item, what is near it, and how often it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pyarrow.parquet as pq

from console.audience import Audience
from console.catalogue import Catalogue, Named
from console.page import Page
from console.reach import reach_of
from console.site import Open, Site
from operations.blocks import blocked_now
from operations.folder import parquet_files
from operations.why.near import Near, alike, raised_by, raises
from operations.why.question import UnknownItem, row_of
from runtime.index.allowed import are_set
from runtime.index.eligible import ELIGIBLE_FILE
from runtime.step import load_array

__all__ = ["Exposure", "exposure_of", "item_page"]

NEAREST = 10
# Slates of the latest day that exposure is counted in, at most.
MOST_SLATES = 200_000


class Exposure(NamedTuple):
    """How often an item is shown; of the latest logged day.

    Attributes:
        day: YYYY-MM-DD.
        num_slates: that were looked at.
        share: of the slates that hold the item.
        mean_place: in those, from 1 on; 0: in none.
    """

    day: str
    num_slates: int
    share: float
    mean_place: float


def item_page(site: Site, audience: Audience, item: str) -> Page:
    """The page of an item by its raw id; `audience` works out who gets it."""
    with site.chain() as chain:
        if not item:
            return Page("item.html.j2", {"asked": "", "row": None, "problem": ""})
        try:
            row = row_of(item, chain.explainer.nodes.spec, chain.explainer.ids)
        except UnknownItem as error:
            return Page("item.html.j2", {"asked": item, "row": None, "problem": str(error)}, 404)
        values = {"asked": item, "row": row, "problem": "", "said": f"item {item}", **_values(chain, row)}
        values["reach"] = reach_of(chain, audience.of(chain), row)
        values["again"] = f"/item?{urlencode({'id': item})}"
        values["block"] = next((each for each in blocked_now(site.target) if str(each.item_id) == item), None)
        values["exposure"] = None
        if site.monitor is not None:
            values["exposure"] = exposure_of(site.monitor, chain.explainer.served.version, row)
        return Page("item.html.j2", values)


def _values(chain: Open, row: int) -> dict[str, Any]:
    folder, catalogue = chain.explainer.served.folder, chain.catalogue
    rules = chain.explainer.rules
    return {
        "item": catalogue.item(row),
        "columns": catalogue.values(row),
        "is_eligible": bool(are_set(load_array(folder / ELIGIBLE_FILE), np.array([row]))[0]),
        "broken": [f"not {met.words}: its {met.column} is {met.value(row)}" for met in rules.broken_by(row)],
        "num_seen": _num_seen(folder, row),
        "num_users": chain.explainer.nodes.spec.num_users,
        "popular_place": _popular_place(folder, row),
        "num_items": chain.explainer.nodes.spec.num_items,
        "alike": _named(alike(folder, row, NEAREST), catalogue),
        "raises": _named(raises(folder, row, NEAREST), catalogue),
        "raised_by": _named(raised_by(folder, row, NEAREST), catalogue),
    }


def _num_seen(folder: Path, row: int) -> int:
    """How many users the export knows to have interacted with the item."""
    path = folder / "state/seen_rows.npy"
    return int(np.count_nonzero(load_array(path) == row)) if path.is_file() else 0


def _popular_place(folder: Path, row: int) -> int | None:
    """Its place among what may be shown, the most popular first; None where it is not among them."""
    path = folder / "popular.npy"
    if not path.is_file():
        return None
    found = np.flatnonzero(load_array(path) == row)
    return int(found[0]) + 1 if len(found) else None


def _named(near: Near, catalogue: Catalogue) -> list[tuple[Named, float]]:
    pairs = zip(near.rows.tolist(), near.weights.tolist(), strict=True)
    return [(catalogue.item(row), weight) for row, weight in pairs]


def exposure_of(folder: Path, version: str, row: int) -> Exposure | None:
    """How often an item was shown by a version on the latest day that it answered; None where it answered nothing.

    Args:
        folder: MON.
        version: of the model.
        row: of the item.
    """
    day, num_slates, num_with, places = "", 0, 0, 0
    for path in parquet_files(folder):
        if day and (path.parent.name != day or num_slates >= MOST_SLATES):
            break
        table = pq.ParquetFile(path).read(["item_rows", "model_version"])
        table = table.filter(np.asarray(table["model_version"]) == int(version))
        slates = table["item_rows"].combine_chunks()
        if not len(slates):
            continue
        day = path.parent.name
        offsets, rows = np.asarray(slates.offsets), np.asarray(slates.values)
        at = np.flatnonzero(rows == row)
        num_slates += len(slates)
        num_with += len(at)
        places += int((at - offsets[np.searchsorted(offsets, at, side="right") - 1] + 1).sum())
    if not num_slates:
        return None
    return Exposure(day.partition("=")[2], num_slates, num_with / num_slates, places / num_with if num_with else 0.0)
