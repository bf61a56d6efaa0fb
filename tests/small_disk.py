"""A file system of its own that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["small_disk"]


@contextmanager
def small_disk(folder: Path, size: int, *, lazy: bool = False) -> Iterator[Path]:
    """A folder of so many bytes; the test skips where none can be made.

    Args:
        folder: that is made.
        size: bytes.
        lazy: files of it may still be open at the end.
    """
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be made here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", *(["-l"] if lazy else []), folder], check=True)
