"""From a path on the command line to a model repository that may be served: found, whole, unaltered."""

from __future__ import annotations

from pathlib import Path

from workflows.core.artefacts import MANIFEST_NAME, verify
from workflows.core.errors import ArtefactError
from workflows.core.run import STAGES

__all__ = ["LAYOUTS", "MODEL_NAME", "find_repository"]

MODEL_NAME = "cascade"
LAYOUTS = ("fused", "ensemble")


def find_repository(path: Path, layout: str = "fused") -> Path:
    """The Triton model repository that `path` stands for, checked against its manifests.

    Args:
        path: a run directory, a folder with one repository a layout, or a repository itself.
        layout: "fused" or "ensemble"; not looked at when `path` is itself a repository.

    Returns:
        The folder that holds the folder of the model `cascade`.

    Raises:
        ArtefactError: there is no such repository, or one of its files is missing, truncated or altered.
    """
    if layout not in LAYOUTS:
        raise ArtefactError(f"--layout must be one of {', '.join(LAYOUTS)}, got '{layout}'")
    for folder in (path, path / layout, path / "repo" / layout):
        if _is_repository(folder):
            _verify(folder, path)
            return folder.resolve()
    raise ArtefactError(_why_not(path, layout))


def _is_repository(folder: Path) -> bool:
    return (folder / MODEL_NAME / "config.pbtxt").is_file()


def _verify(folder: Path, given: Path) -> None:
    """Verify the manifest nearest above the repository, within `given`, and all manifests inside it."""
    above = [parent for parent in (folder, *folder.parents) if parent == given or given in parent.parents]
    outer = next((parent for parent in [*above, given.parent] if (parent / MANIFEST_NAME).is_file()), None)
    inner = sorted({path.parent for path in folder.rglob(MANIFEST_NAME)} - {outer})
    if outer is None and not inner:
        raise ArtefactError(
            f"{folder} has no {MANIFEST_NAME}, so it cannot be checked; serve what `cascade export` wrote or published"
        )
    for checked in [*([outer] if outer else []), *inner]:
        verify(checked)


def _why_not(path: Path, layout: str) -> str:
    if not path.is_dir():
        return f"{path} is not a folder; give a run directory that `cascade export` finished, or a model repository"
    for base in (path, path / "repo"):
        other = [name for name in LAYOUTS if _is_repository(base / name)]
        if other:
            return f"{path} holds the layout '{other[0]}' only, not '{layout}'; use --layout {other[0]} or export both"
    if any((path / stage).is_dir() for stage in STAGES):
        return f"{path} is a run without an export; run `cascade export --out {path}` first"
    return (
        f"{path} is neither a run directory nor a model repository: {MODEL_NAME}/config.pbtxt was expected in it; "
        "give the --out folder of `cascade run`, or the folder of `cascade export --publish`"
    )
