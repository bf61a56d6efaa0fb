"""Files of a published model repository: copied, signed, and swapped in one step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from workflows.core.artefacts import Manifest, write_manifest

__all__ = ["CONFIG_FILE", "NEW", "copy_folder", "replace_file", "sign"]

# Of each model of a repository.
CONFIG_FILE = "config.pbtxt"
# Behind the name of what is not whole yet.
NEW = ".new"


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder without the bytecode that a server has left in it, which could outlive the code it came from."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def sign(folder: Path, exported: Manifest, info: dict[str, object]) -> None:
    """Give a folder its own manifest, with the versions and config of the export."""
    write_manifest(
        folder,
        Manifest("publish", exported.fingerprint, exported.created_at, exported.versions, exported.config, [], info),
    )


def replace_file(path: Path, text: str) -> None:
    """Replace a file in one step, on disk before it is seen."""
    fresh = path.with_name(f".{path.name}{NEW}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
