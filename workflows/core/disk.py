"""Writing where the disk may be full: each library says so in its own way, Cascade in one sentence."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workflows.core.errors import CascadeError

__all__ = ["check_folder", "is_disk_full", "open_array", "said_by_the_system", "save_npz", "takes_files", "writing"]

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
# Said of a path that is read, too: they count where no file can be made in the folder (/proc), or it is a file.
AMBIGUOUS = (errno.ENOENT, errno.EEXIST, errno.EINVAL)
# For errors without an errno: the system's own words (DuckDB, FAISS, TensorFlow, shutil.Error), DuckDB's limit for
# its temporary files and its short writes, and numpy's two ways to say that a file took less than was given.
FULL_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|max_temp_directory_size|Could not write all bytes to file"
    r"|Not enough free space to write|\d+ requested and \d+ written"
)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of any library means that the disk is full."""
    return getattr(error, "errno", None) in FULL or FULL_WORDS.search(str(error)) is not None


def said_by_the_system(error: OSError) -> str | None:
    """One sentence of what no program can mend: a full disk, a path that is not to be written or read; else None."""
    if is_disk_full(error):
        where = error.filename or "what this command writes to"  # standard output has no name
        return f"the disk of {where} is full; free some space and run the same command again"
    if error.errno in UNWRITABLE and error.filename:
        reason = os.strerror(error.errno)
        return f"{error.filename} cannot be used ({reason}); name another one, or change who may use it"
    return None


def takes_files(folder: Path) -> bool:
    """Whether a file can be made in a folder: what it permits says little to root, and /proc says that it does."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_folder(what: str, folder: Path) -> None:
    """Refuse a folder that could not be written, before the work whose result goes there; nothing is made.

    Args:
        what: the command, which starts the sentence.
        folder: it need not be there yet.

    Raises:
        CascadeError: it is a file, or it, or the nearest folder above it that is there, takes no files.
    """
    with writing(what, folder):
        place = next(path for path in (folder, *folder.parents) if _is_there(path))
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(folder)) from None


def _is_there(path: Path) -> bool:
    """Also where a link ends nowhere, which is no folder that could be made.

    Raises:
        OSError: no path can be called so.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def writing(what: str, where: Path) -> Iterator[None]:
    """Turn what the body raises on a full or unwritable disk into one sentence.

    Args:
        what: the stage or command, which starts the sentence.
        where: the folder that it writes to.

    Raises:
        CascadeError: the disk is full, or `where` cannot be written.
    """
    try:
        yield
    except CascadeError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise CascadeError(
                f"{what}: the disk of {where} is full; free some space and run the same command again"
            ) from error
        if isinstance(error, OSError) and _is_unwritable(error, where):
            raise CascadeError(f"{what}: {error.filename or where} cannot be written ({_why(error, where)})") from error
        raise


def _is_unwritable(error: OSError, where: Path) -> bool:
    path = Path(error.filename) if isinstance(error.filename, (str, os.PathLike)) else where
    is_there = path.is_relative_to(where) or where.is_relative_to(path)
    return error.errno in UNWRITABLE or (error.errno in AMBIGUOUS and is_there and not takes_files(where))


def _why(error: OSError, where: Path) -> str:
    blocking = next((path for path in (where, *where.parents) if os.path.lexists(path) and not path.is_dir()), None)
    if blocking is not None and error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{blocking} is a file, expected a folder"
    return os.strerror(error.errno or 0)


def open_array(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """A new .npy file of zeros, mapped for writing, its blocks taken now: a sparse one would end in SIGBUS later.

    Raises:
        OSError: the disk is full.
    """
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a .npz file, the same bytes each time.

    Unlike numpy's own, it leaves no open archive behind that complains later when it fails.

    Raises:
        OSError: the disk is full.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
