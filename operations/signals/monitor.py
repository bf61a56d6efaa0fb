"""`cascade monitor`: measure the windows that have ended, judge them, and write signals.parquet and the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.folder import CHAINS, REQUESTS, STATUS, held, read_json
from operations.signals.accepted import accepted_days
from operations.signals.feedback import feedback_rows, is_of_feedback
from operations.signals.kinds import KINDS, diagnosis, order_of
from operations.signals.measure import measure
from operations.signals.table import Row, load, rows_of, save, with_states
from operations.signals.version import find_version
from runtime.stream.log.errors import LogError
from runtime.stream.log.lock import FolderLock
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError

__all__ = [
    "OPS",
    "Found",
    "alarms",
    "current",
    "date",
    "found_before",
    "monitor_once",
    "monitored",
    "read_window",
    "say_found",
    "windows",
]

OPS = "ops"
# What could not be measured of each version, when it was tried last.
LACKS = Path(OPS, "lacks.json")
DAY_S = 86_400
# How long a day's last requests are waited for: a segment is a minute, a half of a request waits for two.
SETTLES_S = 900
# Of a window. What is rarer than what they show is for the counters of `cascade monitor --port`.
MOST_ROWS = 100_000
BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Found:
    """What a look at MON gave.

    Attributes:
        rows: every signal of every window, judged.
        notes: sentences on what could not be measured.
        now: seconds since 1970.
        num_new: windows that were measured just now.
    """

    rows: list[Row]
    notes: list[str]
    now: float
    num_new: int = 0


def monitor_once(folder: Path, now: float | None = None) -> Found:
    """Measure what is new and write signals.parquet and ops/index.html.

    Args:
        folder: MON.
        now: seconds since 1970; windows that have not ended are left for later.

    Raises:
        ArtefactError: it holds no collected requests, another monitor is at it, or a file cannot be read.
        CascadeError: the disk is full.
    """
    from operations.signals.page import write_page

    now = time.time() if now is None else now
    with monitored(folder):
        known, notes, num_new = [row for row in load(folder) if not is_of_feedback(row)], [], 0
        lacks: dict[str, list[str]] = read_json(folder / LACKS, {})
        sizes = {(row.chain_key, row.day): row.num_rows for row in known}
        for record in _chains(folder):
            key, version = str(record["chain_key"]), None
            for day, paths in windows(folder, key):
                if (day + 1) * DAY_S + SETTLES_S > now:
                    if day * DAY_S > now:
                        notes.append(f"requests of {date(day)}, which is yet to come, are left out: a clock was wrong")
                    continue
                num_rows = _num_rows(paths)
                if num_rows <= sizes.get((key, day), 0):
                    continue
                if version is None:
                    version = find_version(record)
                    lacks[key] = list(version.lacks)
                table = read_window(folder, key, day)
                if table is None:
                    continue
                num_new += 1
                known = [row for row in known if (row.chain_key, row.day) != (key, day)]
                known += rows_of(measure(table, version, day), day, key, version.number, num_rows)
            notes += lacks.get(key, [])
        known += feedback_rows(folder, known, int(now - SETTLES_S) // DAY_S)
        rows = with_states(known, accepted_days(folder))
        with writing("monitor", folder):
            save(folder, rows)
            (folder / LACKS).write_text(json.dumps(lacks))
            found_now = Found(rows, notes, now, num_new)
            write_page(folder, found_now)
    return found_now


def found_before(folder: Path, now: float) -> Found:
    """What the latest look at MON gave, without a new one.

    Args:
        folder: MON.
        now: seconds since 1970.

    Raises:
        ArtefactError: a file cannot be read.
    """
    lacks: dict[str, list[str]] = read_json(folder / LACKS, {})
    return Found(load(folder), [note for of_version in lacks.values() for note in of_version], now)


@contextmanager
def monitored(folder: Path) -> Iterator[None]:
    """Hold the part of MON that a monitor writes; the collector may go on.

    Raises:
        ArtefactError: there is no MON, or another process holds it.
    """
    if (folder / STATUS).is_file() and not (folder / CHAINS).is_dir():
        raise ArtefactError(
            f"{folder} holds no requests yet: servers close what they write after a minute, and `cascade log collect` "
            "takes it then"
        )
    if not (folder / REQUESTS).is_dir() and not (folder / CHAINS).is_dir():
        raise ArtefactError(f"{folder} holds no collected requests; `cascade log collect LOG --out {folder}` makes it")
    try:
        lock = FolderLock(folder / OPS / "lock", "monitored")
    except LogError as error:
        raise ArtefactError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def current(rows: list[Row]) -> list[Row]:
    """The latest window of each signal, of the version that answered most of the latest window."""
    if not rows:
        return []
    newest = max(row.day for row in rows)
    key = max((row for row in rows if row.day == newest), key=lambda row: row.num_rows).chain_key
    latest: dict[str, Row] = {}
    for row in rows:
        if row.chain_key == key or not KINDS[row.measured.signal].of_version:
            latest[row.name] = row if row.day >= latest.get(row.name, row).day else latest[row.name]
    return sorted(latest.values(), key=lambda row: (order_of(row.measured.signal), row.name))


def alarms(rows: list[Row]) -> list[Row]:
    """Signals out of their limits now: those that left them first are first, of these the cause before the effect."""
    return sorted(
        (row for row in current(rows) if row.is_alarm),
        key=lambda row: (row.since, order_of(row.measured.signal), row.name),
    )


def read_window(folder: Path, key: str, day: int) -> pa.Table | None:
    """The rows of a day and version that signals are measured from; None where they were pruned.

    Of more than MOST_ROWS, those whose requests have the lowest keys: the same random sample each time, of which every
    request is whole.

    Raises:
        ArtefactError: a file cannot be read, or MON is held.
    """
    # The collector may merge files, and takes those away that it has merged.
    with held(folder, "read for signals", made=True):
        paths = dict(windows(folder, key)).get(day, [])
        highest = _highest_key(paths) if _num_rows(paths) > MOST_ROWS else None
        tables = [_read(path, highest) for path in paths]
    if not tables:
        return None
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries().combine_chunks()


def _highest_key(paths: list[Path]) -> int | None:
    """That of MOST_ROWS rows of the sample; None where there are no more of them."""
    keys = []
    for path in paths:
        with _reading(path) as file:
            table = file.read(["key", "reason"])
        keys.append(table.filter(pc.equal(table["reason"].cast(pa.string()), "hash"))["key"].to_numpy())
    every = np.concatenate(keys)
    return int(np.partition(every, MOST_ROWS - 1)[MOST_ROWS - 1]) if len(every) > MOST_ROWS else None


def _read(path: Path, highest: int | None) -> pa.Table:
    with _reading(path) as file:
        if highest is None:
            return file.read()
        limit = pa.scalar(highest, pa.uint64())
        batches = file.iter_batches(BATCH_ROWS)
        kept = [batch.filter(pc.less_equal(batch["key"], limit)) for batch in batches]
        return pa.Table.from_batches(kept, file.schema_arrow)


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); remove it, and its requests count as never logged"
        ) from None


def date(day: int) -> str:
    """As people write it."""
    return datetime.fromtimestamp(day * DAY_S, timezone.utc).date().isoformat()


def _chains(folder: Path) -> Iterator[dict[str, Any]]:
    """Those with steps: slates that were drafted from those of two versions are for their experiment to look at."""
    for path in sorted((folder / CHAINS).glob("*.json")):
        record = read_json(path, {})
        if "teams" not in record:
            yield record


def windows(folder: Path, key: str) -> Iterator[tuple[int, list[Path]]]:
    """The days of a version's requests, and their files."""
    for place in sorted((folder / REQUESTS / f"chain={key[:16]}").glob("date=*")):
        text = place.name.removeprefix("date=")
        try:
            day = int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) // DAY_S
        except ValueError:
            raise ArtefactError(f"{place} is no day; `cascade log collect` writes date=YYYY-MM-DD") from None
        if paths := sorted(place.glob("[!.]*.parquet")):
            yield day, paths


def _num_rows(paths: list[Path]) -> int:
    try:
        return sum(pq.read_metadata(path).num_rows for path in paths)
    except FileNotFoundError:
        return 0
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{paths[0].parent} cannot be read ({error}); `cascade log verify` names the file"
        ) from None


def say_found(folder: Path, found: Found) -> None:
    """Print what is out of its limits, and the command that says more."""
    windows = sorted({row.day for row in found.rows})
    for note in found.notes:
        console.say(f"monitor: {note}")
    if not windows:
        console.say(f"monitor: no day of requests has ended yet in {folder}; signals are of whole days, UTC")
        return
    for row in alarms(found.rows):
        limit = row.limit_high if row.state == "high" else row.limit_low
        command = diagnosis(folder, row.name)
        console.say(
            f"monitor: {row.name} is {row.measured.value:.4g}, limit {limit:.4g}, since {date(row.since)}: {command}"
        )
    latest = current(found.rows)
    states = {state: sum(row.state == state for row in latest) for state in ("learning", "no_data")}
    console.say(
        f"monitor: {len(latest)} signals of {len(windows)} days up to {date(windows[-1])}, "
        f"{len(alarms(found.rows))} out of their limits, {states['learning']} still learning, {states['no_data']} "
        f"without enough data; {folder / OPS / 'index.html'}"
    )
