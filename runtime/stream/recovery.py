"""The state as it must be before the first new event: whole, of this version, and with every event of the log in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.stream.events import Events
from runtime.stream.folder import FolderError, checkpoints, state_folder
from runtime.stream.log.reader import Batch, read_batches
from runtime.stream.poison import SetAside, fold
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore, Store, StoreError

__all__ = ["catch_up", "close_state", "is_in_doubt", "open_state"]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# In the folder of a state while it is open: the boot of the machine in which that was.
OPENED = "boot"


def open_state(events: Path, spec: StreamSpec, end: int) -> LmdbStore:
    """Open the state for writing; what a crash of the machine may have damaged is replaced by the last checkpoint.

    LMDB runs without sync, so its file is whole after the end of any process and unknown after a crash of the machine.

    Args:
        events: the EVENTS folder.
        spec: whose state.
        end: the log's next offset.

    Raises:
        StoreError, FolderError: it cannot be opened, or holds events that the log no longer has.
    """
    folder = state_folder(events, spec.state_version)
    try:
        if is_in_doubt(folder):
            shutil.rmtree(folder)
        if not folder.is_dir():
            _restore(events, spec.state_version, end, folder)
        folder.mkdir(parents=True, exist_ok=True)
        _mark_open(folder)
    except OSError as error:
        raise FolderError(f"the state {folder} cannot be written ({error.strerror or error})") from error
    store = LmdbStore(folder, writable=True)
    with store.read() as reading:
        position = reading.position
    if position > end:
        store.close()
        raise FolderError(
            f"the log in {events} ends at offset {end}, and the state knows events up to {position}: files of "
            f"the log are missing; bring them back, or remove {events / 'state'} to go on with what the log has"
        )
    return store


def is_in_doubt(folder: Path) -> bool:
    """Whether the machine has stopped while this state was open, so that nobody knows what of it reached the disk."""
    return _left_open(folder) not in ("", _boot())


def close_state(events: Path, spec: StreamSpec, store: LmdbStore) -> None:
    """Close the state so that it is known to be whole, whatever happens to the machine."""
    store.sync()
    store.close()
    (state_folder(events, spec.state_version) / OPENED).unlink(missing_ok=True)


def catch_up(
    events: Path,
    spec: StreamSpec,
    store: Store,
    end: int | None = None,
    batches: Callable[[Path, int, int | None], Iterator[Batch]] = read_batches,
    set_aside: SetAside = lambda event, offset, why: None,
) -> int:
    """Fold the events of the log that are not in a store yet.

    Args:
        events: the EVENTS folder.
        spec: of the stream.
        store: to be written to.
        end: fold those below this offset alone.
        batches: reads the events of a folder between two offsets.
        set_aside: told of each event that cannot be folded and is left out.

    Returns:
        By how many offsets the store has moved.

    Raises:
        StoreError, LogError: see `fold` and `read_batches`.
        FolderError: its ids are of another type.
    """
    with store.read() as reading:
        start = position = reading.position
    for batch in batches(events, position, end):
        _check_ids(events, spec, batch.events)
        fold(store, spec, batch.events, batch.offsets, batch.next_offset, set_aside)
        position = batch.next_offset
    return position - start


def _check_ids(events: Path, spec: StreamSpec, batch: Events) -> None:
    found = tuple("BYTES" if ids.dtype.kind == "O" else "INT64" for ids in (batch.user, batch.item))
    if found != (spec.user_id_dtype, spec.item_id_dtype):
        raise FolderError(
            f"the log in {events} holds {found[0]} users and {found[1]} items, and this product has "
            f"{spec.user_id_dtype} users and {spec.item_id_dtype} items: it is another product's; give another --events"
        )


def _restore(events: Path, state_version: str, end: int, folder: Path) -> None:
    """Put the latest checkpoint that the log goes on from in the place of the state; nothing where there is none."""
    for position, checkpoint in checkpoints(events, state_version):
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        if position <= end and _is_whole(checkpoint, position):
            shutil.copytree(checkpoint, fresh)
            fresh.rename(folder)
            return


def _is_whole(checkpoint: Path, position: int) -> bool:
    try:
        store = LmdbStore(checkpoint, writable=False)
        try:
            with store.read() as reading:
                return reading.position == position
        finally:
            store.close()
    except StoreError:
        return False


def _left_open(folder: Path) -> str:
    """The boot in which a state was open last and not closed; "" where it was closed."""
    try:
        return (folder / OPENED).read_text()
    except FileNotFoundError:
        return ""


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _mark_open(folder: Path) -> None:
    """On disk before anything is written to the state."""
    with (folder / OPENED).open("w") as file:
        file.write(_boot())
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
