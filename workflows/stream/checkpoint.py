"""Copies of the state, from which it goes on after a crash of the machine: EVENTS/checkpoints/<version>-<position>."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runtime.stream.folder import checkpoints, existing_state
from runtime.stream.log.segments import sync_folder
from runtime.stream.recovery import is_in_doubt
from runtime.stream.store import LmdbStore
from workflows.core.errors import DataError

__all__ = ["make_checkpoint", "remove_checkpoints", "remove_others"]


def make_checkpoint(folder: Path, state_version: str) -> int:
    """Copy a state as it is now, beside a server that goes on writing it.

    Args:
        folder: EVENTS.
        state_version: of the state.

    Returns:
        The position of the copy: events with smaller offsets are in it.

    Raises:
        DataError: a crash of the machine may have damaged it.
        NoStateError: there is no such state.
        StoreError, OSError: it cannot be copied; no half of a copy is left in its place.
    """
    state = existing_state(folder, state_version)
    if is_in_doubt(state):
        raise DataError(f"{state} was open when the machine stopped; start the server once, which makes it whole")
    parent = folder / "checkpoints"
    beside = parent / f".{state_version}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    store = LmdbStore(state, writable=False)
    try:
        store.copy(beside)
    finally:
        store.close()
    with (beside / "data.mdb").open("rb+") as file:
        os.fsync(file.fileno())
    position = _position(beside)
    sync_folder(beside)
    place = parent / f"{state_version}-{position}"
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)
    sync_folder(parent)
    return position


def remove_checkpoints(folder: Path, state_version: str, keep: int) -> None:
    """Remove all but the latest `keep` copies of a state."""
    for _, path in checkpoints(folder, state_version)[keep:]:
        shutil.rmtree(path)


def remove_others(folder: Path, state_version: str, offset: int) -> None:
    """Remove states of other versions, and copies of them, that do not know an event.

    Args:
        folder: EVENTS.
        state_version: of the state that stays.
        offset: of the event.
    """
    for state in (folder / "state").glob("[!.]*"):
        if state.name != state_version and _position(state) <= offset:
            shutil.rmtree(state)
    for copy in (folder / "checkpoints").glob("[!.]*"):
        version, _, position = copy.name.rpartition("-")
        if version != state_version and position.isdigit() and int(position) <= offset:
            shutil.rmtree(copy)


def _position(folder: Path) -> int:
    store = LmdbStore(folder, writable=False)
    try:
        with store.read() as reading:
            return reading.position
    finally:
        store.close()
