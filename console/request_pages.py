"""The Request log: the latest logged requests, one of them whole, asked again, and why an item was in its slate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from console.catalogue import Catalogue, Named, text
from console.page import MissingPage, Page, monitored
from console.site import Site
from operations.folder import parquet_files
from operations.log.schema import CONTEXT
from operations.replay.errors import NotReplayableError
from operations.replay.replay import Replayed, chain_of, replay, version_of
from operations.replay.requests import Row, named
from operations.replay.versions import Version
from operations.why.logged import explain_logged
from operations.why.table import then
from workflows.core.errors import CascadeError

__all__ = ["request_page", "requests_page"]

NUM_LATEST = 50
COLUMNS = ["request_id", "position", "at", "model_version", "path", "num_items", "service_us", "error", "consumer"]


def requests_page(site: Site) -> Page:
    """The latest requests.

    Raises:
        MissingPage: there is no MON.
    """
    rows = _latest(monitored(site))
    return Page("requests.html.j2", {"rows": rows, "said": f"{len(rows)} requests"})


def _latest(folder: Path) -> list[dict[str, Any]]:
    """Of the latest files of the latest day."""
    found: list[dict[str, Any]] = []
    day = ""
    for path in sorted(parquet_files(folder), key=lambda path: (path.parent.name, path.stat().st_mtime), reverse=True):
        if found and (path.parent.name != day or len(found) >= NUM_LATEST):
            break
        day = path.parent.name
        table = pq.ParquetFile(path).read(COLUMNS)
        table = table.set_column(table.column_names.index("at"), "at", table["at"].cast(pa.int64()))
        found += table.take(pc.select_k_unstable(table, NUM_LATEST, [("at", "descending")])).to_pylist()
    found.sort(key=lambda row: (-row["at"], row["position"] or 0))
    return [{**row, "when": _when(row["at"])} for row in found[:NUM_LATEST]]


def request_page(site: Site, request_id: str, *, again: bool = False, item: str = "", user: int = 1) -> Page:
    """One request.

    Args:
        site: of the console.
        request_id: of the request.
        again: whether to ask it again.
        item: whose way through the answer to explain; empty: none's.
        user: of the request, from 1 on.

    Raises:
        MissingPage: there is no MON, or no such request.
    """
    folder = monitored(site)
    try:
        rows = named(folder, request_id)
    except NotReplayableError as error:
        raise MissingPage(str(error)) from None
    first = min(row.values["attempt"] for row in rows)
    kept = sorted((row for row in rows if row.values["attempt"] == first), key=lambda row: row.values["position"])
    values: dict[str, Any] = {"request": kept[0].values, "when": _when(kept[0].values["at"]), "problem": ""}
    values |= {"answer": None, "explained": item, "replayed": None, "then": then, "user": user, "thorough": ""}
    status = 200
    with site.chain() as chain:
        values["known"] = chain.catalogue.known
        values["slates"] = _slates(folder, kept, chain.catalogue)
        try:
            if again:
                values["replayed"] = _said(replay(folder, request_id=request_id))
            if item:
                values["answer"] = explain_logged(folder, request_id, item, user=user)
        except CascadeError as error:
            values["problem"], status = str(error), 409
    return Page("request.html.j2", values, status)


def _said(replayed: Replayed) -> str:
    """What came of asking one request again."""
    by = f"asked again of {', '.join(replayed.versions)}"
    if replayed.differing:
        return f"{by}: the answer differs, {next(iter(replayed.differing.values())).what}"
    if replayed.rounded:
        return f"{by}: the same items; scores differ by rounding, since the environment is another one"
    return f"{by}: the same answer, bit for bit"


def _slates(folder: Path, rows: Sequence[Row], catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each user of a request, with raw ids where the version that answered is there."""
    values = rows[0].values
    try:
        version = version_of(chain_of(folder, values["chain_key"]), values["layout"], values["model_version"])
    except CascadeError:
        return [_slate(row, None, catalogue) for row in rows]
    return [_slate(row, version, catalogue) for row in rows]


def _slate(row: Row, version: Version | None, catalogue: Catalogue) -> dict[str, Any]:
    values = row.values
    number, scores = values["user_row"], values["scores"] or []
    is_known = version is not None and number is not None and number >= 0
    rows = {name: values[name] or [] for name in ("recent", "excluded", "item_rows")}
    ids = None if version is None else version.ids("items")
    items = {name: [_item(ids, each, catalogue) for each in found] for name, found in rows.items()}
    return {
        "user": text(version.ids("users")[number].item()) if version is not None and is_known else "",
        "is_gone": version is None,
        "context": {name[len(CONTEXT) :]: value for name, value in values.items() if name.startswith(CONTEXT)},
        "recent": items["recent"],
        "excluded": items["excluded"],
        "items": list(zip(items["item_rows"], scores, strict=True)),
        "path": values["path"],
        "why_not": row.why_not,
    }


def _item(ids: NDArray | None, row: int, catalogue: Catalogue) -> Named:
    if ids is None or row < 0:
        return Named(f"item row {row}" if row >= 0 else "an item that the catalogue lacked", "")
    return catalogue.known(text(ids[row].item()))


def _when(at: int) -> str:
    """Nanoseconds since 1970 as people read them."""
    return datetime.fromtimestamp(at / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
