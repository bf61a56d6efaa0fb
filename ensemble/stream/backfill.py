"""`cascade stream backfill`: the latest events of a run's tables as the first events of its log."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.serving.repository import events_folder, takes_events
from ensemble.stream.shared import find_shared
from ensemble.stream.shared_writing import backfilling
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.folder import FolderError
from runtime.stream.ingest import Ingest
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import next_offset
from runtime.stream.spec import StreamSpec
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


def backfill(
    path: Path, events: Path | None, days: int | None, source: str | None = None, store: str | None = None
) -> None:
    """Put the latest events of the tables into an empty log, so that windows begin as they were trained.

    What the export knows already is not added to histories again: the chain's cut is the same. Events of the
    future are left out: in a window, nothing that really comes would count beside them.

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
    if shared is None:
        _check_empty(folder)
    tables = TableEvents(run)
    stop = int(np.searchsorted(tables.known_at, time.time_ns(), side="right"))
    first = _first(tables.known_at[:stop], spec, days)
    if shared is not None:
        with backfilling(shared) as writer:
            _feed(writer, tables, first, stop)
    else:
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


def _fill(folder: Path, spec: StreamSpec, tables: TableEvents, first: int, stop: int) -> None:
    """Put events into the log of a folder."""
    try:
        with writing("stream backfill", folder):
            ingest = Ingest(folder, spec)
            try:
                _feed(ingest, tables, first, stop)
            finally:
                ingest.close()
    except (FolderError, LogError, StoreError) as error:
        raise ArtefactError(str(error)) from error


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


def _feed(ingest: Ingest | TopicWriter, tables: TableEvents, first: int, stop: int) -> None:
    with console.progress("stream backfill", stop - first, "events") as bar:
        for events in tables.batches(first, stop):
            ingest.accept(events, int(events.at[-1]))
            bar.advance(bar.task_ids[0], len(events))
