"""Writing where the disk may be full: each library says so in its own way, Cascade in one sentence."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workflows.core.errors import CascadeError

__all__ = ["is_disk_full", "open_array", "save_npz", "writing"]

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EACCES, errno.EROFS)
# For errors without an errno: the system's own words (DuckDB, FAISS, TensorFlow, shutil.Error), DuckDB's limit for
# its temporary files and its short writes, and numpy's two ways to say that a file took less than was given.
FULL_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|max_temp_directory_size|Could not write all bytes to file"
    r"|Not enough free space to write|\d+ requested and \d+ written"
)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of any library means that the disk is full."""
    return getattr(error, "errno", None) in FULL or FULL_WORDS.search(str(error)) is not None


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
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise CascadeError(f"{what}: {where} cannot be written ({error.strerror})") from error
        raise


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
