"""What a repository serves, as a retraining asks it."""

from __future__ import annotations

from pathlib import Path

from ensemble.evaluation.metrics_file import read_metrics
from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME
from ensemble.serving.repository import served_number
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.run import Run

__all__ = ["first_release_words", "served_with_export_of", "serves_nothing"]


def serves_nothing(repository: Path) -> bool:
    """Whether a repository is empty, or holds only what a publication that was ended has left."""
    if not repository.is_dir():
        return not repository.exists()
    names = [path.name for path in repository.iterdir()]
    return not (repository / MODEL_NAME / CONFIG_FILE).exists() and all(
        name.startswith((".", MODEL_NAME)) for name in names
    )


def served_with_export_of(run: Run, repository: Path) -> tuple[int, bool]:
    """The version that a repository serves, where it has the export of a run, and whether it was published from it.

    Returns:
        Its number, 0 for none; and whether from this very run, and not from one whose export this run has taken.
    """
    if not (repository / MODEL_NAME / CONFIG_FILE).is_file():
        return 0, False
    number = served_number(repository)
    folder = repository / MODEL_NAME / number
    if not (folder / MANIFEST_NAME).is_file():
        return 0, False
    ours, theirs = read_manifest(run.folder("repo")), read_manifest(folder)
    if (ours.fingerprint, ours.created_at) != (theirs.fingerprint, theirs.created_at):
        return 0, False
    return int(number), theirs.info.get("run") == str(run.root.absolute())


def first_release_words(repository: Path, run: Run) -> str:
    """Why the first version is published: nothing is compared, so the targets that it misses are named."""
    targets = read_metrics(run.require("report")).get("targets") or ()
    missed = [str(target["name"]) for target in targets if target["met"] is False]
    words = f", and misses {len(missed)} of the report's targets: {'; '.join(missed)}" if missed else ""
    return f"it is the first of {repository}{words}"
