"""The state made anew from all events, those too that are in Parquet alone and that a server does not read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.stream.folder import FolderError, state_folder
from runtime.stream.log.errors import LogError
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.log import LOCK
from runtime.stream.log.reader import Batch
from runtime.stream.recovery import catch_up
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore, StoreError
from workflows.core.disk import writing
from workflows.core.errors import DataError
from workflows.stream.history import first_event, read_events

__all__ = ["all_events", "rebuild_state"]


def all_events(folder: Path, start: int, stop: int | None) -> Iterator[Batch]:
    """The events of a folder EVENTS between two offsets that it still has; see `read_events`."""
    return read_events(folder, max(start, first_event(folder)), stop)


def rebuild_state(folder: Path, spec: StreamSpec) -> int:
    """Make a state anew; the one in its place stays until that is done.

    Args:
        folder: EVENTS, which no server writes meanwhile.
        spec: of the stream.

    Returns:
        The position of the state.

    Raises:
        DataError: a server writes the folder, or its events cannot be read.
        CascadeError: the disk is full.
    """
    state = state_folder(folder, spec.state_version)
    fresh = state.with_name(f".{state.name}.new")
    with writing("stream rebuild", folder):
        try:
            lock = FolderLock(folder / LOCK, "written")
            try:
                shutil.rmtree(fresh, ignore_errors=True)
                store = LmdbStore(fresh, writable=True)
                try:
                    catch_up(folder, spec, store, batches=all_events)
                    store.sync()
                    with store.read() as reading:
                        position = reading.position
                finally:
                    store.close()
                shutil.rmtree(state, ignore_errors=True)
                fresh.rename(state)
            finally:
                lock.release()
        except (FolderError, LogError, StoreError) as error:
            raise DataError(str(error)) from error
    return position
