"""`cascade stream backfill`: the latest events of a run's tables as the first events of its log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.serving.repository import events_folder, takes_events
from ensemble.stream.shared import find_shared
from ensemble.stream.shared_writing import backfilling
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.folder import FolderError, make_folder
from runtime.stream.ingest import Ingest
from runtime.stream.log.errors import LogError
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.log import LOCK
from runtime.stream.log.reader import next_offset
from runtime.stream.log.segments import LOG, sync_folder
from runtime.stream.spec import STREAM_FILE, StreamSpec
from runtime.stream.store import StoreError
from runtime.stream.topic_writer import TopicWriter
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError, DataError
from workflows.core.run import Run
from workflows.stream.backfill import TableEvents
from workflows.tables.info import DataInfo

__all__ = ["backfill"]

DAY_S, SECOND_NS = 86_400, 1_000_000_000
# Of features that look at the latest event, however long ago that was.
DAYS_OF_SINCE = 30
# In the folder of live events while it is filled; what a process that was killed left is thrown away.
BESIDE = ".backfill"
STATE = "state"


def backfill(
    path: Path, events: Path | None, days: int | None, source: str | None = None, store: str | None = None
) -> None:
    """Put the latest events of the tables into an empty log, so that windows begin as they were trained.

    What the export knows already is not added to histories again: the chain's cut is the same. Events of the
    future are left out: in a window, nothing that really comes would count beside them. Stopped anywhere, the folder
    has none of the events or all, and the same command begins anew or finishes.

    Args:
        path: a run with an export that takes in live events.
        events: the folder of live events; None: the run's.
        days: how far back from the last of these; None: the longest window, and 30 days where a feature looks at the
            latest event of a user.
        source: see `find_shared`.
        store: see `find_shared`.

    Raises:
        ArtefactError: the run takes in no live events, or its log or topic has some already.
        DataError: its tables have no instants, or a log as their events.
    """
    run, repository = Run(path), _repository(path)
    spec = StreamSpec.load(repository / EVENTS_MODEL / "1")
    folder = events or events_folder(path, repository)
    shared = None if events else find_shared(path, source, store, "stream backfill")
    _check(run)
    if shared is None and _is_unfinished(folder):
        with _held(folder):
            _put_in_place(folder)
        console.say(f"stream backfill: {folder} has the events of the tables, by the call that was stopped before")
        return
    if shared is None:
        _check_empty(folder)
    tables = TableEvents(run)
    stop = int(np.searchsorted(tables.known_at, time.time_ns(), side="right"))
    first = _first(tables.known_at[:stop], spec, days)
    if shared is not None:
        with backfilling(shared) as writer:
            _feed(writer, tables, first, stop)
    else:
        with _held(folder):
            _fill(folder, spec, tables, first, stop)
    where = folder if shared is None else shared.topic.shown
    ahead = f"; {len(tables) - stop:,} that lie ahead of now are left out" if stop < len(tables) else ""
    console.say(f"stream backfill: {where} has the latest {stop - first:,} events of the tables{ahead}")


def _repository(path: Path) -> Path:
    for layout in ("fused", "ensemble"):
        if takes_events(path / "repo" / layout):
            return (path / "repo" / layout).resolve()
    raise ArtefactError(
        f"{path} is no run whose export takes in live events; put [stream] into the config and run `cascade export`"
    )


def _check(run: Run) -> None:
    info = DataInfo.load(run.require("data", check=False))
    if info.log_offset >= 0:
        raise DataError(f"{run.root}: its events are a log already, which has them; serve it with --events")
    if info.timestamp_unit in ("order", "rows"):
        raise DataError(f"{run.root}: the timestamps of its events are no instants, so that they cannot be live events")


def _check_empty(folder: Path) -> None:
    try:
        known = next_offset(folder)
    except LogError as error:
        raise ArtefactError(str(error)) from error
    if known:
        raise ArtefactError(
            f"{folder} has {known:,} events already, and those of the tables would come after them; give an empty "
            "folder with --events"
        )


def _first(known_at: NDArray[np.int64], spec: StreamSpec, days: int | None) -> int:
    """The row from which on the events are wanted."""
    if not len(known_at):
        return 0
    windows = [window.seconds for window in (*spec.user_windows, *spec.item_windows)]
    # A hop more than a window is long: its tail moves by hops.
    longest = max([seconds * 13 // 12 + 1 for seconds in windows], default=0)
    seconds = days * DAY_S if days is not None else max(longest, DAYS_OF_SINCE * DAY_S if spec.since else 0)
    return int(np.searchsorted(known_at, int(known_at[-1]) - seconds * SECOND_NS))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Write a folder, and let no server begin meanwhile."""
    try:
        with writing("stream backfill", folder):
            make_folder(folder)
            lock = FolderLock(folder / LOCK, "written")
            try:
                yield
            finally:
                lock.release()
    except (FolderError, LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error


def _fill(folder: Path, spec: StreamSpec, tables: TableEvents, first: int, stop: int) -> None:
    """Make log and state beside their place, then put them there: ended anywhere, the folder has all events or none."""
    beside = folder / BESIDE
    shutil.rmtree(beside, ignore_errors=True)
    ingest = Ingest(beside, spec)
    try:
        _feed(ingest, tables, first, stop)
    finally:
        ingest.close()
    # Of a server that took in nothing yet.
    (folder / STREAM_FILE).unlink(missing_ok=True)
    for name in (STATE, LOG):
        shutil.rmtree(folder / name, ignore_errors=True)
    (beside / LOG).replace(folder / LOG)
    _put_in_place(folder)


def _is_unfinished(folder: Path) -> bool:
    """Whether a call was stopped when the log was in its place already; it is the first thing in a folder."""
    return (folder / BESIDE / STREAM_FILE).exists() and not (folder / BESIDE / LOG).exists()


def _put_in_place(folder: Path) -> None:
    """Put the rest beside the log, unless a server has made it of the log since."""
    for name in (STATE, STREAM_FILE):
        if (folder / BESIDE / name).exists() and not (folder / name).exists():
            (folder / BESIDE / name).replace(folder / name)
    sync_folder(folder)
    shutil.rmtree(folder / BESIDE)


def _feed(ingest: Ingest | TopicWriter, tables: TableEvents, first: int, stop: int) -> None:
    with console.progress("stream backfill", stop - first, "events") as bar:
        for events in tables.batches(first, stop):
            ingest.accept(events, int(events.at[-1]))
            bar.advance(bar.task_ids[0], len(events))
