"""Whether the stages of a run directory belong together: each was made from those that are there now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflows.core.artefacts import MANIFEST_NAME, Manifest, read_manifest
from workflows.core.errors import ArtefactError

__all__ = ["COMMANDS", "check_origins", "origins", "why_stale"]

# What makes each stage.
COMMANDS = {
    "data": "prepare",
    "features": "prepare",
    "retrieval": "train-retrieval",
    "neighbours": "fit-neighbours",
    "sources": "fit-sources",
    "index": "build-index",
    "ranking": "train-ranking",
    "report": "evaluate",
    "repo": "export",
}


def origins(root: Path, stages: Sequence[str]) -> dict[str, str]:
    """Stage -> the content that it has now, for what is made from these stages.

    Args:
        root: the run directory.
        stages: finished ones.

    Raises:
        ArtefactError: one has not finished, or was made by a release that did not record contents.
    """
    manifests = {stage: read_manifest(root / stage) for stage in stages}
    for stage, manifest in manifests.items():
        if not manifest.content:
            raise ArtefactError(_unknown(root / stage))
    return {stage: manifest.content for stage, manifest in manifests.items()}


def check_origins(root: Path, stages: Sequence[str]) -> None:
    """Refuse stages that were not made from the earlier stages that are there now.

    Raises:
        ArtefactError: names the first such stage, what it was made from, and the command that makes it again.
    """
    if (reason := why_stale(root, stages)) is not None:
        raise ArtefactError(reason)


def why_stale(root: Path, stages: Sequence[str]) -> str | None:
    """The first stage, among these and those that they were made from, that is older than what it was made from.

    An earlier stage that is not there is compared with nothing, as in a folder that holds an export alone.

    Args:
        root: the run directory.
        stages: finished ones.

    Returns:
        A sentence with the way out; None where all belong together.

    Raises:
        ArtefactError: one of `stages` has not finished.
    """
    manifests = _made_from(root, stages)
    for stage, manifest in manifests.items():
        if not manifest.content:
            return _unknown(root / stage)
        others = [
            name for name, content in manifest.after.items() if name in manifests and manifests[name].content != content
        ]
        if others:
            since = max(manifests[name].created_at for name in others)
            return (
                f"{root / stage} (of {manifest.created_at}) was made from other {'/, '.join(others)}/ than what is "
                f"there now (of {since}); {_way_out(stage)}"
            )
    return None


def _made_from(root: Path, stages: Sequence[str]) -> dict[str, Manifest]:
    """The manifests of these stages and of all that they were made from, the earliest first."""
    found: dict[str, Manifest] = {}
    for stage in stages:
        manifest = read_manifest(root / stage)
        earlier = [name for name in manifest.after if (root / name / MANIFEST_NAME).is_file()]
        found = {**found, **_made_from(root, earlier), stage: manifest}
    return found


def _unknown(folder: Path) -> str:
    return f"{folder} was made by an older Cascade, which did not record what it was made from; {_way_out(folder.name)}"


def _way_out(stage: str) -> str:
    return f"run cascade {COMMANDS.get(stage, stage)} again, or cascade run for every stage"
