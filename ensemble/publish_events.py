"""The model `cascade_events` of a published repository: a version folder each time that it changes.

A running server keeps the version that it has started with, whose folder stays; the next start takes the new one.
"""

from __future__ import annotations

from pathlib import Path

from ensemble.export.events_model import config_of
from ensemble.publish_beside import place_version
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.spec import StreamSpec
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run

__all__ = ["publish_events_model"]


def publish_events_model(run: Run, exported: Path, target: Path) -> None:
    """Place an export's model where the repository has none or another one; the caller holds the repository.

    Args:
        run: whose export it is.
        exported: a layout of it.
        target: the published repository.
    """
    source = exported / EVENTS_MODEL / "1"
    if not source.is_dir():
        return
    version = place_version(
        target / EVENTS_MODEL,
        source,
        lambda folder, version: config_of(StreamSpec.load(folder), version),
        read_manifest(run.folder("repo")),
    )
    if not version:
        return
    console.say(f"publish: live events are taken in by version {version} of {EVENTS_MODEL} from the next start on")
