"""`cascade shadow`: ask, measure, write RUN/shadow.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.publish_files import replace_file
from operations.shadow.ask import ask_candidate
from operations.shadow.measure import Change, Shadow, measure, text_of
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError, DataError
from workflows.tables.values import has_texts, texts_of

__all__ = ["SHADOW_FILE", "categories_of", "lines", "shadow"]

SHADOW_FILE = "shadow.json"
CATEGORY, NO_CATEGORY = "category", "none"


def shadow(folder: Path, run: Path, last: int, category: str = "") -> Shadow:
    """Ask the latest requests of MON of a candidate, and write shadow.json into the run; of a repository, into MON.

    Args:
        folder: MON.
        run: run directory or model repository of the candidate.
        last: how many requests.
        category: column of the items table; empty: the one that is called so, where there is one.

    Raises:
        CascadeError: see `ask_candidate`; or the disk is full.
    """
    categories = categories_of(run, category)
    found = measure(ask_candidate(folder, run, last), categories)
    place = run if (run / "data").is_dir() else folder
    with writing("shadow", place):
        replace_file(place / SHADOW_FILE, msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    return found


def categories_of(run: Path, column: str) -> dict[str, str]:
    """Raw item id as text -> its category; empty where no table says it.

    Raises:
        DataError: the items table has no column that is called so, or one of lists or structs.
        ArtefactError: it cannot be read.
    """
    path = run / "data" / "items.parquet"
    if not path.is_file():
        return {}
    try:
        names = pq.read_schema(path).names
        if column and column not in names:
            raise DataError(f"gate.category = '{column}': the items table has the columns {', '.join(names)}")
        if (column or CATEGORY) not in names:
            return {}
        table = pq.read_table(path, columns=[column or CATEGORY])
        if not has_texts(table[column or CATEGORY].type):
            if column:
                raise DataError(
                    f"gate.category = '{column}' holds values of type {table[column].type}; name a column of single "
                    "values"
                )
            return {}
        values = texts_of(table[column or CATEGORY], NO_CATEGORY).tolist()
        ids = np.load(run / "data/ids/items.npy", allow_pickle=False)
        return dict(zip(map(text_of, ids.tolist()), values, strict=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtefactError(f"{path} cannot be read as text by item ({error}); run cascade prepare again") from None


def lines(found: Shadow) -> Iterator[str]:
    """A table as a person reads it."""
    yield f"{found.num_requests:,} requests asked again of {found.candidate}; {found.num_slates:,} slates compared"
    for why, number in found.left_out.items():
        yield f"  left out: {number:,} requests: {why}"
    yield f"errors            {found.num_errors / max(found.num_requests, 1):.2%} of the requests"
    for what, number in found.errors.items():
        yield f"  {number:,}: {what}"
    yield f"overlap@{found.k}        {found.overlap_at_k:.1%} of the items; rank-biased overlap {found.rbo:.3f}"
    yield f"scores            {'none' if found.score_js is None else f'{found.score_js:.4f} bits apart'}"
    yield f"{'':18}{'before':>12}{'after':>12}"
    for name, change in (("empty slates", found.empty), ("short slates", found.short)):
        yield f"{name:18}{change.before:>12.2%}{change.after:>12.2%}"
    for path, change in found.paths.items():
        yield f"path {path:13}{change.before:>12.1%}{change.after:>12.1%}"
    if found.cpu_ms is not None:
        between = "" if found.cpu_low is None else f"  change {found.cpu_low:+.1%} to {found.cpu_high:+.1%}"
        yield f"{'CPU a user, ms':18}{found.cpu_ms.before:>12.2f}{found.cpu_ms.after:>12.2f}{between}"
    yield _counts("items shown", found.num_items)
    for name, change in found.categories.items():
        yield _counts(f"  {name}", change)
    if found.items:
        yield "items whose places changed most"
    for item, change in found.items.items():
        yield _counts(f"  {item}", change)


def _counts(name: str, change: Change) -> str:
    return f"{name:18}{change.before:>12,.0f}{change.after:>12,.0f}"
