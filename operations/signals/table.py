"""signals.parquet of MON: every signal of every window, what it is judged by, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operations.signals.kinds import KINDS, SHARES, Measured, order_of
from operations.signals.limits import Judged, Point, State, judge
from workflows.core.errors import ArtefactError

__all__ = ["SIGNALS", "Row", "load", "name_of", "rows_of", "save", "with_states"]

SIGNALS = "signals.parquet"
# Windows that are kept: half a year.
KEPT_DAYS = 183
SCHEMA = pa.schema(
    {
        "window_start": pa.timestamp("s", "UTC"),
        "family": pa.string(),
        "signal": pa.string(),
        "slice": pa.string(),
        "chain_key": pa.string(),
        "model_version": pa.int32(),
        "value": pa.float64(),
        "noise": pa.float64(),
        "spread": pa.float64(),
        "n": pa.int64(),
        "effective_n": pa.float64(),
        "is_enough": pa.bool_(),
        "num_rows": pa.int64(),
        "limit_low": pa.float64(),
        "limit_high": pa.float64(),
        "state": pa.string(),
        "since": pa.timestamp("s", "UTC"),
    }
)
DAY_S = 86_400


@dataclass(frozen=True)
class Row:
    """A signal of a window of a version.

    Attributes:
        day: of the window, days since 1970.
        chain_key: of the version.
        model_version: its number.
        measured: the signal.
        num_rows: of the log that the window had when it was measured.
        limit_low, limit_high: infinite where there is none.
        state: what became of it.
        since: day of the first window of an alarm; -1 without one.
    """

    day: int
    chain_key: str
    model_version: int
    measured: Measured
    num_rows: int
    limit_low: float = -np.inf
    limit_high: float = np.inf
    state: State = "no_data"
    since: int = -1

    @property
    def name(self) -> str:
        """As people write it: signal, or signal:slice."""
        return name_of(self.measured.signal, self.measured.slice)

    @property
    def is_alarm(self) -> bool:
        """Whether it is out of its limits for two windows and more."""
        return self.state in ("high", "low")


def name_of(signal: str, slice_: str) -> str:
    """As people write it."""
    return f"{signal}:{slice_}" if slice_ else signal


def rows_of(found: Sequence[Measured], day: int, chain_key: str, model_version: int, num_rows: int) -> list[Row]:
    """The rows of a window, not judged yet."""
    return [Row(day, chain_key, model_version, each, num_rows) for each in found]


def with_states(rows: Sequence[Row], accepted: Mapping[str, Sequence[int]]) -> list[Row]:
    """Judge every row by those before it, ordered by window, version and signal.

    A signal that is compared with a version's profile has a past of that version alone, and until it has one that of
    the versions before where it is a distance; of the others each window counts once, by the version with the most rows
    of the log.

    Args:
        rows: in any order.
        accepted: name -> days from which on the values are the new normal.
    """
    series: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row.day, row.num_rows)):
        of = row.chain_key if KINDS[row.measured.signal].of_version else ""
        series[row.name, of][row.day] = row
    judged = []
    past: dict[str, list[Point]] = defaultdict(list)
    for (name, _), by_day in sorted(series.items(), key=lambda each: min(each[1])):
        ordered = [by_day[day] for day in sorted(by_day)]
        points = [_point(row) for row in ordered]
        kind = KINDS[ordered[0].measured.signal]
        before = [point for point in past[name] if point.day < points[0].day]
        all_found = list(judge(points, kind.side, accepted.get(name, ()), before))
        if kind.of_version and kind.side == "high":
            within = (p for p, found in zip(points, all_found, strict=True) if _is_within(p, found))
            past[name] = sorted([*past[name], *within])
        for row, found in zip(ordered, all_found, strict=True):
            judged.append(
                replace(
                    row,
                    limit_low=found.limits.low,
                    limit_high=found.limits.high,
                    state=found.state,
                    since=found.since,
                )
            )
    return sorted(judged, key=lambda row: (row.day, row.chain_key, order_of(row.measured.signal), row.name))


def _point(row: Row) -> Point:
    found = row.measured
    users = found.effective if found.signal in SHARES else 0.0
    return Point(row.day, found.value, found.spread, found.is_enough, users)


def _is_within(point: Point, found: Judged) -> bool:
    return found.state in ("ok", "learning") and point.value <= found.limits.high


def load(folder: Path) -> list[Row]:
    """The rows of MON/signals.parquet; none where it is absent.

    Raises:
        ArtefactError: it cannot be read.
    """
    path = folder / SIGNALS
    if not path.is_file():
        return []
    try:
        records = pq.read_table(path, schema=SCHEMA).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); remove it, and the next run measures again what the log still holds"
        ) from None
    return [_row(dict(zip(records, values, strict=True))) for values in zip(*records.values(), strict=True)]


def save(folder: Path, rows: Sequence[Row]) -> None:
    """Write MON/signals.parquet, as a whole or not at all."""
    newest = max((row.day for row in rows), default=0)
    records = [_record(row) for row in rows if row.day > newest - KEPT_DAYS]
    path = folder / SIGNALS
    fresh = path.with_name(f".{SIGNALS}.new")
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), fresh, compression="zstd")
    fresh.replace(path)


def _row(values: Mapping[str, Any]) -> Row:
    def number(name: str, without: float = float("nan")) -> float:
        return without if values[name] is None else float(values[name])

    since = values["since"]
    measured = Measured(
        signal=values["signal"],
        slice=values["slice"],
        value=number("value"),
        noise=number("noise"),
        spread=number("spread"),
        num=values["n"],
        effective=number("effective_n"),
        is_enough=values["is_enough"],
    )
    return Row(
        day=int(values["window_start"].timestamp()) // DAY_S,
        chain_key=values["chain_key"],
        model_version=values["model_version"],
        measured=measured,
        num_rows=values["num_rows"],
        limit_low=number("limit_low", -np.inf),
        limit_high=number("limit_high", np.inf),
        state=values["state"],
        since=-1 if since is None else int(since.timestamp()) // DAY_S,
    )


def _record(row: Row) -> dict[str, Any]:
    measured = row.measured
    return {
        "window_start": row.day * DAY_S,
        "family": KINDS[measured.signal].family,
        "signal": measured.signal,
        "slice": measured.slice,
        "chain_key": row.chain_key,
        "model_version": row.model_version,
        "value": measured.value if np.isfinite(measured.value) else None,
        "noise": measured.noise,
        "spread": measured.spread if np.isfinite(measured.spread) else None,
        "n": measured.num,
        "effective_n": measured.effective,
        "is_enough": measured.is_enough,
        "num_rows": row.num_rows,
        "limit_low": row.limit_low if np.isfinite(row.limit_low) else None,
        "limit_high": row.limit_high if np.isfinite(row.limit_high) else None,
        "state": row.state,
        "since": row.since * DAY_S if row.since >= 0 else None,
    }
