"""MON, the folder that a collector keeps: its parts by name, and changes of it that happen as a whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.stream.log.errors import BusyError, LogError
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.segments import sync_folder
from workflows.core.errors import ArtefactError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = [
    "CHAINS",
    "FORGOTTEN",
    "MISMATCHED",
    "PENDING",
    "PRUNED",
    "RECENT",
    "REQUESTS",
    "STATUS",
    "Change",
    "HeldError",
    "held",
    "open_parquet",
    "parquet_files",
    "read_json",
    "readable",
]

REQUESTS, CHAINS, PENDING = "requests", "chains", "pending"
STATUS, FORGOTTEN, PRUNED, RECENT = "status.json", "forgotten.json", "pruned.json", "recent.npy"
# Requests that were not answered again as they had been, when they were asked last.
MISMATCHED = "mismatched.json"
LOCK, JOURNAL, FRESH = "lock", "journal.json", ".new"
# Where changes are begun: files of MON itself, and folders in which all is its own.
OWN_FILES = (STATUS, FORGOTTEN, PRUNED, RECENT, MISMATCHED, "quality.parquet")
OWN_FOLDERS = (REQUESTS, CHAINS, PENDING, "feedback", "joined", "views")
WAIT_S, POLL_S = 30.0, 0.05


class HeldError(ArtefactError):
    """MON is held by another process for longer than a command waits."""


class Change:
    """Files of MON that take their places together: written beside them first, then named in a journal, then renamed.

    What is ended before the journal is there changes nothing; what is ended after it goes on with the next command.

    Args:
        folder: MON, held.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._placed: list[Path] = []
        self._removed: list[Path] = []

    def place(self, path: Path) -> Path:
        """Where to write what will be at `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._placed.append(path)
        return _beside(path)

    def place_json(self, path: Path, record: Any) -> None:
        """Write a JSON file."""
        self.place(path).write_text(json.dumps(record, indent=1, sort_keys=True))

    def remove(self, path: Path) -> None:
        """Have a file removed."""
        self._removed.append(path)

    def commit(self) -> None:
        """Let everything happen."""
        for path in self._placed:
            with _beside(path).open("rb") as file:
                os.fsync(file.fileno())
        journal = self._folder / JOURNAL
        # MON may be moved before the journal is read again, and a log need not move with it.
        record = {"placed": [*map(self._named, self._placed)], "removed": [*map(self._named, self._removed)]}
        with journal.with_suffix(FRESH).open("w") as file:
            file.write(json.dumps(record))
            file.flush()
            os.fsync(file.fileno())
        journal.with_suffix(FRESH).replace(journal)
        sync_folder(self._folder)
        _finish(self._folder)

    def _named(self, path: Path) -> str:
        return str(path.relative_to(self._folder) if path.is_relative_to(self._folder) else path.absolute())

    def abandon(self) -> None:
        """Forget it, unless the journal is there: then it happens, now or with the next command."""
        if (self._folder / JOURNAL).is_file():
            return
        for path in self._placed:
            _beside(path).unlink(missing_ok=True)


@contextmanager
def held(folder: Path, what: str, *, made: bool = False) -> Iterator[None]:
    """Hold MON for a while; what an earlier command was ended in is finished first.

    A collector that follows a log holds it for each of its passes alone, so others wait for it.

    Args:
        folder: MON.
        what: is done to it, for the sentence of whoever comes meanwhile.
        made: make it where it is absent.

    Raises:
        HeldError: another process holds it for longer than WAIT_S.
        ArtefactError: it is absent.
    """
    if not made and not (folder / STATUS).is_file():
        raise ArtefactError(f"{folder} holds no collected requests; `cascade log collect LOG --out {folder}` makes it")
    until = time.monotonic() + WAIT_S
    while True:
        try:
            lock = FolderLock(folder / LOCK, what)
            break
        except BusyError as error:
            if time.monotonic() > until:
                raise HeldError(str(error)) from error
            time.sleep(POLL_S)
        except LogError as error:
            raise ArtefactError(str(error)) from error
    try:
        _finish(folder)
        for left in _left_over(folder):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def read_json(path: Path, default: Any) -> Any:
    """A JSON file of MON; the default where it is absent.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); put a copy of it back") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in one sentence that a Parquet file cannot be read.

    Raises:
        ArtefactError: it is damaged, or gone.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); put a copy of it back, or remove it, and its rows count as never logged"
        ) from None


def open_parquet(path: Path) -> pq.ParquetFile:
    """A file of rows whose pages are checked as they are read; to be used where it is `readable`."""
    from pyarrow import parquet

    return parquet.ParquetFile(path, page_checksum_verification=True)


def parquet_files(folder: Path, keys: Sequence[str] | None = None) -> list[Path]:
    """The files of requests, those of the latest days first.

    Args:
        folder: MON.
        keys: of chains; None: of all.
    """
    names = [f"chain={key[:16]}" for key in keys] if keys is not None else ["chain=*"]
    found = [path for name in names for path in (folder / REQUESTS).glob(f"{name}/date=*/*.parquet")]
    return sorted(found, key=lambda path: (path.parent.name, path.name), reverse=True)


def _left_over(folder: Path) -> Iterator[Path]:
    """What an ended command of MON had begun: other files beside MON's own may be of whoever keeps them there."""
    found = [folder.glob(f".{name}{FRESH}") for name in OWN_FILES]
    found += [(folder / name).rglob(f".*{FRESH}") for name in OWN_FOLDERS]
    return (path for paths in found for path in paths if path.is_file() and not path.is_symlink())


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{FRESH}")


def _finish(folder: Path) -> None:
    """Do what the journal says and has not happened."""
    journal = folder / JOURNAL
    if not journal.is_file():
        return
    record = json.loads(journal.read_text())
    for path in (folder / name for name in record["placed"]):
        if _beside(path).is_file():
            _beside(path).replace(path)
    for path in (folder / name for name in record["removed"]):
        path.unlink(missing_ok=True)
    journal.unlink()
