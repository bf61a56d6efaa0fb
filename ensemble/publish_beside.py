"""A model of a published repository beside the chain: a version folder each time that it changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ensemble.export.pbtxt import served_version
from ensemble.publish_files import CONFIG_FILE, NEW, copy_folder, replace_file, sign
from workflows.core.artefacts import MANIFEST_NAME, Manifest

__all__ = ["place_version"]

# The served one, and the one that a server which was started before may still run.
KEPT = 2


def place_version(model: Path, source: Path, config_of: Callable[[Path, int], str], exported: Manifest) -> int:
    """Place a model where the repository has none or another one; the caller holds the repository.

    Args:
        model: its folder in the repository.
        source: a folder with the files of a version.
        config_of: config.pbtxt of a folder as a version.
        exported: what the version's manifest says of how it was made.

    Returns:
        The new version; 0 where the served one is the same.
    """
    model.mkdir(exist_ok=True)
    for left in model.glob(f".*{NEW}"):
        shutil.rmtree(left)
    config = model / CONFIG_FILE
    served = served_version(config.read_text()) if config.is_file() else 0
    if served and _contents(model / str(served)) == _contents(source):
        return 0
    version = max([served, *(int(path.name) for path in model.iterdir() if path.name.isdigit())]) + 1
    fresh = model / f".{version}{NEW}"
    copy_folder(source, fresh)
    (fresh / CONFIG_FILE).write_text(config_of(fresh, version))
    sign(fresh, exported, {"version": version, "model": model.name})
    fresh.rename(model / str(version))
    replace_file(config, (model / str(version) / CONFIG_FILE).read_text())
    for old in sorted((int(path.name) for path in model.iterdir() if path.name.isdigit()), reverse=True)[KEPT:]:
        shutil.rmtree(model / str(old))
    return version


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a version that decide what it does."""
    own = (CONFIG_FILE, MANIFEST_NAME)
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name not in own}
