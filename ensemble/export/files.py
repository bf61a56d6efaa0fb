"""Placing files without copying their bytes where the file system allows it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from models.onnx import DATA_SUFFIX

__all__ = ["place"]


def place(source: Path, target: Path) -> None:
    """Put a file or a whole folder at `target`: hard links where possible, copies elsewhere.

    The mapped weights of an ONNX file go with it, under their own name, by which the graph refers to them.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                _link(path, target / path.relative_to(source))
        return
    _link(source, target)
    weights = source.with_name(source.name + DATA_SUFFIX)
    if weights.is_file():
        _link(weights, target.with_name(weights.name))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
