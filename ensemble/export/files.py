"""Placing files without copying their bytes where the file system allows it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["place"]


def place(source: Path, target: Path) -> None:
    """Put a file or a whole folder at `target`: hard links where possible, copies elsewhere."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                place(path, target / path.relative_to(source))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
