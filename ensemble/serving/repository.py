"""From a path on the command line to a model repository that may be served: found, whole, unaltered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from runtime.blocked import BLOCKED_FILE
from runtime.send_gate.spec import GATE_MODEL
from runtime.spec import CHAIN_FILE, ChainSpec
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import log_id
from workflows.core.artefacts import MANIFEST_NAME, verify
from workflows.core.errors import ArtefactError
from workflows.core.run import STAGES

__all__ = [
    "LAYOUTS",
    "MODEL_NAME",
    "STEP_MODEL",
    "any_repository",
    "blocked_file",
    "chain_file",
    "events_folder",
    "find_repository",
    "has_send_gate",
    "is_of_another_log",
    "served_file",
    "served_number",
    "takes_events",
]

MODEL_NAME = "cascade"
LAYOUTS = ("fused", "ensemble", "merlin")
# How `export --publish` writes which version is served, and names the step models of a version.
SERVED_VERSION = re.compile(r"version_policy\s*\{\s*specific\s*\{\s*versions:\s*\[\s*(\d+)")
STEP_MODEL = re.compile(rf"{MODEL_NAME}_v(\d+)_")


def find_repository(path: Path, layout: str = "fused") -> Path:
    """The Triton model repository that `path` stands for, checked against its manifests.

    Args:
        path: a run directory, a folder with one repository a layout, or a repository itself.
        layout: one of LAYOUTS; not looked at when `path` is itself a repository.

    Returns:
        The folder that holds the folder of the model `cascade`.

    Raises:
        ArtefactError: there is no such repository, or one of its files is missing, truncated or altered.
    """
    if layout not in LAYOUTS:
        raise ArtefactError(f"--layout must be one of {', '.join(LAYOUTS)}, got '{layout}'")
    folder = next((folder for folder in _where(path, layout) if _is_repository(folder)), None)
    if folder is None:
        raise ArtefactError(_why_not(path, layout))
    _verify(folder, path)
    return folder.resolve()


def any_repository(path: Path) -> Path:
    """The first model repository that `path` stands for, in whichever layout, its files not checked.

    Raises:
        ArtefactError: there is none.
    """
    folders = (folder for layout in LAYOUTS for folder in _where(path, layout))
    found = next((folder for folder in folders if _is_repository(folder)), None)
    if found is None:
        raise ArtefactError(_why_not(path, LAYOUTS[0]))
    return found.resolve()


def blocked_file(repository: Path) -> Path:
    """Where the blocked items of what is served are kept: in the run, whose export comes anew, or in the repository."""
    in_run = repository.parent.name == "repo" and repository.name in LAYOUTS
    return (repository.parents[1] if in_run else repository) / BLOCKED_FILE


def takes_events(repository: Path) -> bool:
    """Whether a repository has the model that takes in live events."""
    return (repository / EVENTS_MODEL / "config.pbtxt").is_file()


def has_send_gate(repository: Path) -> bool:
    """Whether a repository has the model that decides on notifications."""
    return (repository / GATE_MODEL / "config.pbtxt").is_file()


def is_of_another_log(repository: Path, events: Path) -> bool:
    """Whether the data of the served chain were read from a log, and this folder of live events has another one.

    Raises:
        ArtefactError: the log cannot be read.
    """
    chains = (repository / MODEL_NAME).glob(f"{_served(repository, MODEL_NAME) or '*'}/**/{CHAIN_FILE}")
    live = next((ChainSpec.load(path.parent).live for path in chains), None)
    try:
        return live is not None and live.known_log not in ("", log_id(events))
    except LogError as error:
        raise ArtefactError(str(error)) from error


def served_number(repository: Path) -> str:
    """The version of the model `cascade` that a repository serves."""
    return _served(repository, MODEL_NAME) or "1"


def served_file(repository: Path, name: str) -> Path | None:
    """A file of the chain that a repository serves, in whichever of its models it is.

    Args:
        repository: a model repository.
        name: as in a compiled chain, like "ids/items.npy".
    """
    return chain_file(repository, served_number(repository), name)


def chain_file(repository: Path, number: str, name: str) -> Path | None:
    """The same of a version, served or not.

    Args:
        repository: a model repository.
        number: of the version of the model `cascade`.
        name: see `served_file`.
    """
    # A published version owns its step models; those of an export are of no version.
    steps = sorted(repository.glob(f"{MODEL_NAME}_v{number}_*")) or sorted(repository.glob(f"{MODEL_NAME}_*"))
    folders = [repository / MODEL_NAME / number, *(step / "1" for step in steps)]
    files = (path for folder in folders for path in (folder / "chain" / name, folder / name))
    return next((path for path in files if path.is_file()), None)


def events_folder(path: Path, repository: Path) -> Path:
    """Where the live events of what is served are kept when nobody says: in the run, or beside the repository.

    Args:
        path: as it was given to `find_repository`.
        repository: what that found.
    """
    path = path.resolve()
    if repository.parent.name == "repo" and repository.name in LAYOUTS:
        return repository.parents[1] / "events"
    base = path if repository.parent == path else repository
    return base.with_name(f"{base.name}-events")


def _where(path: Path, layout: str) -> tuple[Path, ...]:
    return (path, path / layout, path / "repo" / layout)


def _is_repository(folder: Path) -> bool:
    return (folder / MODEL_NAME / "config.pbtxt").is_file()


def _verify(folder: Path, given: Path) -> None:
    """Verify the manifest nearest above the repository, within `given`'s folder, and those inside that are served."""
    above = [parent for parent in (folder, *folder.parents) if parent == given or given in parent.parents]
    outer = next((parent for parent in [*above, given.parent] if (parent / MANIFEST_NAME).is_file()), None)
    checked = [*([outer] if outer else []), *_served_manifests(folder, outer)]
    if not checked:
        raise ArtefactError(
            f"{folder} has no {MANIFEST_NAME}, so it cannot be checked; serve what `cascade export` wrote or published"
        )
    for part in checked:
        verify(part)


def _served_manifests(folder: Path, outer: Path | None) -> Iterator[Path]:
    """Folders of a published repository with a manifest of their own, without the versions that are not served."""
    served = {_served(folder, MODEL_NAME)}
    there = {EVENTS_MODEL: takes_events(folder), GATE_MODEL: has_send_gate(folder)}
    beside = {model: {_served(folder, model)} if is_there else set() for model, is_there in there.items()}
    versioned = {MODEL_NAME: served, **beside}
    for path in sorted(folder.rglob(MANIFEST_NAME)):
        parts = path.relative_to(folder).parts[:-1]
        hidden = any(part.startswith(".") for part in parts)
        other_version = len(parts) > 1 and parts[1] not in versioned.get(parts[0], {parts[1]})
        other_step = bool(parts) and (step := STEP_MODEL.match(parts[0])) is not None and step[1] not in served
        if path.parent != outer and not (hidden or other_version or other_step):
            yield path.parent


def _served(folder: Path, model: str) -> str:
    """The version of a model that its config.pbtxt names; "" for none."""
    named = SERVED_VERSION.search((folder / model / "config.pbtxt").read_text())
    return named[1] if named else ""


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
