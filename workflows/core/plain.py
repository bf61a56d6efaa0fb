"""A second name for a folder, for libraries that read some characters of a path as wildcards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["plain"]


@contextmanager
def plain(folder: Path) -> Iterator[Path]:
    """The same folder under a path of letters, digits and slashes alone, for this process and while the body runs.

    TensorFlow takes the names of variables that it restores for globs, and NVTabular an asterisk for a part's number;
    neither knows how to escape them.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
