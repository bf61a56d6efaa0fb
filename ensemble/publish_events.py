"""The model `cascade_events` of a published repository: a version folder each time that it changes.

A running server keeps the version that it has started with, whose folder stays; the next start takes the new one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ensemble.export.events_model import config_of
from ensemble.export.layouts import CONFIG_FILE
from ensemble.export.pbtxt import served_version
from ensemble.publish_files import NEW, copy_folder, replace_file, sign
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.spec import StreamSpec
from workflows.core import console
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.run import Run

__all__ = ["publish_events_model"]

# The served one, and the one that a server which was started before may still run.
KEPT = 2


def publish_events_model(run: Run, exported: Path, target: Path) -> None:
    """Place an export's model where the repository has none or another one; the caller holds the repository.

    Args:
        run: whose export it is.
        exported: a layout of it.
        target: the published repository.
    """
    source, model = exported / EVENTS_MODEL / "1", target / EVENTS_MODEL
    if not source.is_dir():
        return
    model.mkdir(exist_ok=True)
    for left in model.glob(f".*{NEW}"):
        shutil.rmtree(left)
    config = model / CONFIG_FILE
    served = served_version(config.read_text()) if config.is_file() else 0
    if served and _contents(model / str(served)) == _contents(source):
        return
    version = max([served, *(int(path.name) for path in model.iterdir() if path.name.isdigit())]) + 1
    fresh = model / f".{version}{NEW}"
    copy_folder(source, fresh)
    (fresh / CONFIG_FILE).write_text(config_of(StreamSpec.load(fresh), version))
    sign(fresh, read_manifest(run.folder("repo")), {"version": version, "model": EVENTS_MODEL})
    fresh.rename(model / str(version))
    replace_file(config, (model / str(version) / CONFIG_FILE).read_text())
    for old in sorted((int(path.name) for path in model.iterdir() if path.name.isdigit()), reverse=True)[KEPT:]:
        shutil.rmtree(model / str(old))
    console.say(f"publish: live events are taken in by version {version} of {EVENTS_MODEL} from the next start on")


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a version that decide what it does."""
    own = (CONFIG_FILE, MANIFEST_NAME)
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name not in own}
