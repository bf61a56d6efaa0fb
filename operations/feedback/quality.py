"""quality.parquet of MON: live quality of each day and version, provisional until enough labels have come."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.feedback.estimate import ERROR, ESTIMATE, LEAST_PAST, estimate, estimate_error
from operations.feedback.events import SHOWN
from operations.feedback.kept import Days, read_whole
from operations.feedback.maturity import Maturity, learn_maturity
from operations.feedback.measure import Figure, measure_window
from operations.feedback.schema import DAY_NS, JOINED, date_of, file_in
from operations.feedback.window import read_window
from operations.folder import Change
from operations.log.chains import chains
from workflows.core.errors import ArtefactError

__all__ = ["QUALITY", "Quality", "load_quality", "update_quality"]

QUALITY = "quality.parquet"
KEPT_DAYS, LEARNT_DAYS = 183, 90
# Labels that are measured, the most frequent ones: a client may send any text.
MOST_LABELS = 10
SCHEMA = pa.schema(
    {
        "window_start": pa.timestamp("s", "UTC"),
        "chain_key": pa.string(),
        "model_version": pa.int32(),
        "label": pa.string(),
        "metric": pa.string(),
        "slice": pa.string(),
        "value": pa.float64(),
        "spread": pa.float64(),
        "observed": pa.float64(),
        "expected": pa.float64(),
        "n": pa.int64(),
        "effective_n": pa.float64(),
        "maturity": pa.float64(),
        "state": pa.string(),
        "revision": pa.int64(),
    }
)
MATURE, PROVISIONAL = "mature", "provisional"
NO_FIGURE = Figure("", "", "", float("nan"), 0.0, 0.0, 0.0, 0, 0.0, 0.0, False)


@dataclass(frozen=True)
class Quality:
    """A figure of a window of a version.

    Attributes:
        day: days since 1970.
        chain_key: of the version.
        model_version: its number.
        revision: of the file of MON/joined that it was made of.
        figure: the figure.
    """

    day: int
    chain_key: str
    model_version: int
    revision: int
    figure: Figure


Windows = dict[tuple[int, str], list[Quality]]


def update_quality(folder: Path, now_ns: int) -> list[Quality]:
    """Measure the windows whose rows are new or whose labels are still to come. The caller holds MON.

    Args:
        folder: MON.
        now_ns: nanoseconds since 1970.

    Returns:
        All figures.

    Raises:
        ArtefactError: a file cannot be read.
    """
    maturity, until = _maturity(Days(folder), now_ns)
    known: Windows = defaultdict(list)
    for quality in load_quality(folder):
        known[quality.day, quality.chain_key].append(quality)
    for chain in sorted(chains(folder), key=lambda chain: int(chain["model_version"])):
        key = chain["chain_key"]
        for place in sorted((folder / JOINED / f"chain={key[:16]}").glob("date=*")):
            path, before = file_in(place), known.get((date_of(place), key), [])
            is_open = any(each.revision != _revision(path) or not each.figure.is_mature for each in before)
            if path is not None and (is_open or not before):
                window_of = Quality(date_of(place), key, int(chain["model_version"]), _revision(path), NO_FIGURE)
                known[window_of.day, key] = _measured(folder, place, window_of, maturity, until, known)
    newest = max((day for day, _ in known), default=0)
    rows = [each for (day, _), some in sorted(known.items()) if day > newest - KEPT_DAYS for each in some]
    change = Change(folder)
    try:
        pq.write_table(_table(rows), change.place(folder / QUALITY), compression="zstd", write_page_checksum=True)
        change.commit()
    except BaseException:
        change.abandon()
        raise
    return rows


def load_quality(folder: Path) -> list[Quality]:
    """The figures of MON; none where there are none.

    Raises:
        ArtefactError: they cannot be read.
    """
    path = folder / QUALITY
    if not path.is_file():
        return []
    table = read_whole(path)
    if table.schema.names != SCHEMA.names:
        raise ArtefactError(f"{path} is of another release; remove it, and `cascade feedback {folder}` makes it anew")
    return [_quality(row) for row in table.to_pylist()]


def _measured(
    folder: Path, place: Path, window_of: Quality, maturity: dict[str, Maturity], until: int, known: Windows
) -> list[Quality]:
    window = read_window(folder, f"{place.parent.name}/{place.name}")
    if window is None:
        return []
    figures = list(measure_window(window, maturity, until))
    before = {
        each.figure.label: each.figure
        for each in known.get((window_of.day, window_of.chain_key), ())
        if each.figure.metric == ESTIMATE
    }
    past = _past(known, window_of)
    for live in [figure for figure in figures if (figure.metric, figure.slice) == ("ctr", "")]:
        # As it was first made, so that it can be held against what came.
        kept = before.get(live.label) if live.is_mature else None
        estimated = kept or estimate(window, live.label, past)
        if estimated is not None:
            figures.append(estimated._replace(maturity=live.maturity, is_mature=live.is_mature))
            figures += [estimate_error(estimated, live)] if live.is_mature else []
    return [replace(window_of, figure=figure) for figure in figures]


def _past(known: Windows, window_of: Quality) -> list[list[Figure]]:
    """The mature figures of the days before: of the version itself, else of others too."""
    own: list[list[Figure]] = []
    every: list[list[Figure]] = []
    for (day, key), some in sorted(known.items()):
        live = [q.figure for q in some if q.figure.is_mature and q.figure.metric not in (ESTIMATE, ERROR)]
        if day < window_of.day and live:
            every.append(live)
            own += [live] if key == window_of.chain_key else []
    return own if len(own) >= LEAST_PAST else every


def _revision(path: Path | None) -> int:
    return int(path.stem) if path else 0


def _maturity(days: Days, now_ns: int) -> tuple[dict[str, Maturity], int]:
    """The curve of each label, and the instant of the latest event: none is known after it."""
    columns = ("slate_key", "slate_at", "rank", "label", "at")
    newest = now_ns // DAY_NS
    paths = [path for day, path in days.files.items() if newest - LEARNT_DAYS < day <= newest]
    tables = [read_whole(path, columns) for path in paths]
    if not tables:
        return {}, 0
    table = pa.concat_tables(tables)
    at = table["at"].cast(pa.int64()).to_numpy()
    until = int(at[at <= now_ns].max(initial=0))
    table = table.filter(pc.and_(pc.is_valid(table["slate_key"]), pc.not_equal(table["label"], SHOWN)))
    first = table.group_by(["slate_key", "slate_at", "rank", "label"]).aggregate([("at", "min")])
    slate_at, came_at = (first[name].cast(pa.int64()).to_numpy() for name in ("slate_at", "at_min"))
    labels = np.array(first["label"].to_pylist(), object)
    curves = {}
    for label, _ in Counter(labels.tolist()).most_common(MOST_LABELS):
        chosen = (labels == label) & (came_at <= until)
        curves[label] = learn_maturity(
            (came_at - slate_at)[chosen] / 1e9, (until - slate_at)[chosen].astype(np.float64) / 1e9
        )
    return curves, until


def _table(rows: Sequence[Quality]) -> pa.Table:
    records = [
        {
            "window_start": row.day * 86_400,
            "chain_key": row.chain_key,
            "model_version": row.model_version,
            "label": row.figure.label,
            "metric": row.figure.metric,
            "slice": row.figure.slice,
            "value": _finite(row.figure.value),
            "spread": _finite(row.figure.spread),
            "observed": row.figure.observed,
            "expected": row.figure.expected,
            "n": row.figure.num,
            "effective_n": row.figure.effective,
            "maturity": row.figure.maturity,
            "state": MATURE if row.figure.is_mature else PROVISIONAL,
            "revision": row.revision,
        }
        for row in rows
    ]
    return pa.Table.from_pylist(records, schema=SCHEMA)


def _quality(row: Mapping[str, Any]) -> Quality:
    def number(name: str) -> float:
        return float("nan") if row[name] is None else float(row[name])

    figure = Figure(
        label=row["label"],
        metric=row["metric"],
        slice=row["slice"],
        value=number("value"),
        spread=number("spread"),
        observed=number("observed"),
        expected=number("expected"),
        num=row["n"],
        effective=number("effective_n"),
        maturity=number("maturity"),
        is_mature=row["state"] == MATURE,
    )
    day = int(row["window_start"].timestamp()) // 86_400
    return Quality(day, row["chain_key"], row["model_version"], row["revision"], figure)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
