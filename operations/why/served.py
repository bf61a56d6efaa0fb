"""From a path on the command line to the chain that is served from there: its files in one folder, and its export."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from ensemble.export.layouts import runtime_sources
from ensemble.serving.repository import LAYOUTS, MODEL_NAME, find_repository, served_number
from operations.replay.versions import Version
from operations.why.overlay import link_files
from runtime.plan import PLAN_FILE, Plan
from runtime.spec import CHAIN_FILE, ChainSpec
from runtime.standard import standard_plan
from runtime.triton import CHAIN_FOLDER
from workflows.core.artefacts import MANIFEST_NAME, Manifest, read_manifest
from workflows.core.errors import ArtefactError

__all__ = ["Served", "find_served", "served_by"]

STEP_VERSION = "1"


@dataclass(frozen=True)
class Served:
    """A chain that a run or a published repository serves.

    Attributes:
        folder: all files of the compiled chain.
        repository: the model repository.
        layout: "fused" or "ensemble".
        version: of the model `cascade`.
        manifest: of the export.
        root: the run that it was exported from; None where that is not known.
        own_code: whether lib/ of the repository holds other code than this release.
    """

    folder: Path
    repository: Path
    layout: str
    version: str
    manifest: Manifest
    root: Path | None
    own_code: bool


def find_served(path: Path, run: Path | None = None) -> Served:
    """Find the chain, checked against its manifest; steps of the user's own are imported from the repository.

    Args:
        path: a run directory or a published repository.
        run: the run that a published repository's version was exported from.

    Raises:
        ArtefactError: there is none, a file is altered, or the version was exported from another run.
    """
    repository = _repository(path)
    number = served_number(repository)
    return _served(repository, repository / MODEL_NAME / number, number, run, path)


def served_by(version: Version, run: Path | None = None) -> Served:
    """A version that may not be the one that is served now.

    Args:
        version: of a chain.
        run: that it was exported from.

    Raises:
        ArtefactError: a file is altered, or it was exported from another run.
    """
    version.check()
    return _served(version.folder.parents[1], version.folder, str(version.number), run, version.folder)


def _served(repository: Path, folder: Path, version: str, run: Path | None, path: Path) -> Served:
    signed = next((place for place in (folder, *repository.parents[:1]) if (place / MANIFEST_NAME).is_file()), None)
    if signed is None:
        raise ArtefactError(f"{repository} has no {MANIFEST_NAME}; give a run, or what `export --publish` wrote")
    manifest = read_manifest(signed)
    of_run = repository.parents[1] if repository.parent.name == "repo" and repository.name in LAYOUTS else None
    if run is not None:
        _check_run(run, manifest, path)
    is_fused = (folder / CHAIN_FOLDER / CHAIN_FILE).is_file()
    gathered = None if is_fused else Path(tempfile.mkdtemp(prefix="cascade-why-"))
    chain = folder / CHAIN_FOLDER if gathered is None else _gathered(repository, folder, version, gathered)
    library = next((p for p in (folder / "lib", *sorted(repository.glob(f"{MODEL_NAME}*/*/lib"))) if p.is_dir()), None)
    if library is not None and str(library) not in sys.path:
        # Steps of the user's own, as they are served; the package `runtime` is loaded already.
        sys.path.insert(0, str(library))
    served = Served(
        folder=chain,
        repository=repository,
        layout="fused" if is_fused else "ensemble",
        version=version,
        manifest=manifest,
        root=run or of_run,
        own_code=library is not None and _is_other_code(library),
    )
    if gathered is not None:
        weakref.finalize(served, shutil.rmtree, gathered, ignore_errors=True)
    return served


def _repository(path: Path) -> Path:
    """The repository, of a run its first layout; both answer alike."""
    try:
        return find_repository(path, "fused")
    except ArtefactError:
        if not any((base / "ensemble" / MODEL_NAME).is_dir() for base in (path, path / "repo")):
            raise
    return find_repository(path, "ensemble")


def _check_run(run: Path, manifest: Manifest, path: Path) -> None:
    found = read_manifest(run / "repo").fingerprint
    if found != manifest.fingerprint:
        raise ArtefactError(f"--run {run}: what {path} serves was exported from another run, or from an earlier state")


def _gathered(repository: Path, folder: Path, version: str, target: Path) -> Path:
    """The files of the parts of an `ensemble`, in one folder."""
    spec = ChainSpec.load(folder)
    plan = Plan.load(folder) if (folder / PLAN_FILE).is_file() else standard_plan(spec)
    for model in plan.models:
        published = repository / f"{MODEL_NAME}_v{version}_{model}"
        part = (published if published.is_dir() else repository / f"{MODEL_NAME}_{model}") / STEP_VERSION
        if (part / CHAIN_FOLDER).is_dir():
            link_files(part / CHAIN_FOLDER, target)
            continue
        # A step that Triton's own backend runs.
        graph = plan.of_model(model)[0].make().graph_file
        (target / graph).symlink_to((part / "model.onnx").absolute())
    link_files(folder, target, only=(CHAIN_FILE, PLAN_FILE))
    return target


def _is_other_code(library: Path) -> bool:
    """Whether the repository's copy of the package `runtime` is not that of this release."""
    here = {name: _digest(source) for source, name in runtime_sources()}
    files = (path for path in (library / "runtime").rglob("*") if path.is_file() and path.suffix != ".pyc")
    there = {path.relative_to(library): _digest(path) for path in files}
    return here != there


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
