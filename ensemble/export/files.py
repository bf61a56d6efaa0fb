"""Placing files without copying their bytes where the file system allows it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["place", "place_weights"]


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
    if source.suffix == ".onnx":
        place_weights(source, target.parent)


def place_weights(graph: Path, folder: Path) -> None:
    """Put the mapped weights that an ONNX file refers to into `folder`, by the names in the graph."""
    import onnx

    model = onnx.load(os.fspath(graph), load_external_data=False)
    entries = (entry for weight in model.graph.initializer for entry in weight.external_data)
    for name in sorted({entry.value for entry in entries if entry.key == "location"}):
        _link(graph.with_name(name), folder / name)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
