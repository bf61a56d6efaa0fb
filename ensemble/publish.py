"""Numbered versions in the model repository that containers mount: published whole or not at all, rolled back at once.

A published repository holds the model `cascade` with a folder a version; each has its own manifest and its own copy of
config.pbtxt. The config.pbtxt beside the folders names the one version that is served, and replacing that file is the
only step at which anything changes for a server. In the ensemble layout each version owns its step models
(`cascade_v3_features`), so that an older version stays as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ensemble.config import Config
from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME, Names, fused_config, step_config, tied_config
from ensemble.export.pbtxt import served_version
from ensemble.history import note_published, note_withdrawn
from ensemble.kept_versions import CLAIMS, claimed_keys, is_published, note_removed, version_folders
from ensemble.merlin.needs import refuse_to_publish
from ensemble.publish_events import publish_events_model
from ensemble.publish_files import NEW, copy_folder, replace_file, sign
from ensemble.variants import remove_model, variant_versions, write_model
from runtime.log.identity import VERSION_MODEL
from runtime.plan import PLAN_FILE, Plan
from runtime.spec import ChainSpec
from runtime.triton import CHAIN_FOLDER
from workflows.core import console
from workflows.core.artefacts import read_manifest, verify
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError
from workflows.core.lock import hold
from workflows.core.origins import check_origins, why_stale
from workflows.core.run import Run

__all__ = ["KEPT_VERSIONS", "older_version", "place_beside", "promote", "publish", "rollback", "withdraw"]

KEPT_VERSIONS = 3
WITHDRAWN = ".withdrawn"


def publish(
    run: Run,
    config: Config,
    target: Path,
    layout: str,
    keep: int = KEPT_VERSIONS,
    *,
    info: Mapping[str, object] = MappingProxyType({}),
    instead_of: int | None = None,
    beside: Callable[[int], None] | None = None,
) -> int:
    """Add a run's export to a model repository as its next version, and serve that one from now on.

    Args:
        run: whose export has finished.
        config: its config.
        target: the model repository, created when absent.
        layout: "fused" or "ensemble", one of `chain.layouts`.
        keep: versions kept, the new one included; older ones are removed, but for those that requests in a log name.
        info: further entries of the version's manifest.
        instead_of: the version that must still be served; None: any.
        beside: makes the new version a variant, which serves beside the served one; called with its number, once it is
            there whole, to name it in the file of experiments before anybody else may publish.

    Returns:
        The number of the new version.

    Raises:
        ArtefactError: the export is missing, altered or older than its stages, lacks the layout, or
            `target` holds somebody else's `cascade`; or another process publishes to it, or has done so since.
        CascadeError: the layout is "merlin"; or the disk is full or unwritable, and the served version stays.
    """
    with hold(run.root, reads=["repo"]):
        return _publish(run, config, target, layout, keep, info, instead_of, beside)


def _publish(
    run: Run,
    config: Config,
    target: Path,
    layout: str,
    keep: int,
    info: Mapping[str, object],
    instead_of: int | None,
    beside: Callable[[int], None] | None,
) -> int:
    """`publish` while nobody else writes the export."""
    refuse_to_publish(layout)
    exported = run.require("repo") / layout
    check_origins(run.root, ["repo"])
    if not (exported / MODEL_NAME).is_dir():
        raise ArtefactError(f"{run.folder('repo')} has no layout '{layout}'; add it to chain.layouts and export again")
    _check_plan(exported)
    model = target / MODEL_NAME
    with writing("publish", target):
        model.mkdir(parents=True, exist_ok=True)
        with hold(model, writes=["versions"]):
            _check_served(target, instead_of)
            version = _next_version(model)
            with _swept(target):
                _write_version(run, config, target, layout, version, info)
                if beside is not None:
                    _write_variant(target, version, beside)
                    return version
                publish_events_model(run, exported, target)
                replace_file(model / CONFIG_FILE, (model / str(version) / CONFIG_FILE).read_text())
            note_published(target, run, version, _gate_of(info))
            _prune(target, keep)
    console.say(f"publish: {target} now serves version {version} ({layout})")
    if run.folder("report").is_dir() and (reason := why_stale(run.root, ["report"])) is not None:
        console.say(f"publish: report/ is not of what was published: {reason}")
    return version


def _gate_of(info: Mapping[str, object]) -> Mapping[str, str]:
    found = info.get("gate")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, Mapping) else {}


def _write_variant(target: Path, version: int, name_it: Callable[[int], None]) -> None:
    """A version that is there becomes a model of its own name, and no more than that."""
    if not _served(target / MODEL_NAME):
        raise ArtefactError(f"{target} serves nothing yet that a variant could be beside; publish a run there first")
    try:
        write_model(target, version)
        name_it(version)
    except BaseException:
        remove_model(target, version)
        raise


def place_beside(target: Path, write: Callable[[Path, int], None], beside: Callable[[int], None]) -> int:
    """Add a version that is no run's, as a model of its own name beside the served one.

    Args:
        target: the model repository.
        write: writes the version, whole and signed, into a folder that it makes; called with that and the number.
        beside: see `publish`.

    Returns:
        The number of the version.

    Raises:
        ArtefactError: nothing is served there, or another process publishes to it.
        CascadeError: the disk is full or unwritable.
    """
    model = target / MODEL_NAME
    with writing("publish", target), hold(model, writes=["versions"]):
        version = _next_version(model)
        with _swept(target):
            fresh = model / f".{version}{NEW}"
            write(fresh, version)
            fresh.rename(model / str(version))
            _write_variant(target, version, beside)
    return version


def promote(target: Path, version: int, why: str) -> None:
    """Serve a variant to all from now on; it keeps its own name until the file of experiments names it no more.

    Args:
        target: the model repository.
        version: the variant's.
        why: kept with it.

    Raises:
        ArtefactError: there is no such version, or it was altered, or a newer one is served by now.
    """
    model = target / MODEL_NAME
    with writing("promote", target), hold(model, writes=["versions"]):
        served = _served(model)
        if served > version:
            raise ArtefactError(
                f"{target} serves version {served} by now, which is newer than version {version}; publish the run of "
                "that one again: cascade export --publish"
            )
        for folder in (model / str(version), *target.glob(f"{MODEL_NAME}_v{version}_*")):
            verify(folder)
        replace_file(model / CONFIG_FILE, (model / str(version) / CONFIG_FILE).read_text())
        run = Run(Path(str(read_manifest(model / str(version)).info["run"])))
        if run.folder("repo").is_dir():
            note_published(target, run, version, {"why": why})


def withdraw(target: Path, version: int) -> None:
    """Take the name of a variant away that no experiment has any more, and the version, unless it is what is served.

    It stays, hidden, while requests in a log name it.
    """
    model = target / MODEL_NAME
    with writing("withdraw", target), hold(model, writes=["versions"]):
        if version in variant_versions(target):
            return
        remove_model(target, version)
        if _served(model) != version and (model / str(version)).is_dir():
            (model / str(version)).rename(model / f".{version}{WITHDRAWN}")


def _check_plan(exported: Path) -> None:
    """An export says which steps it has, and they are here: their models' configs are written from them.

    Raises:
        ArtefactError: it was written by a release that said nothing of that, or the file of a step is not here.
    """
    folder = _only_version(exported, MODEL_NAME)
    try:
        found = next(path for path in (folder / PLAN_FILE, folder / CHAIN_FOLDER / PLAN_FILE) if path.is_file())
        for node in Plan.load(found.parent).nodes:
            node.make()
    except StopIteration:
        raise ArtefactError(
            f"{exported} has no {PLAN_FILE}: an earlier release exported it; it can be served as it is, and to publish "
            "it run cascade export again"
        ) from None
    except ValueError as error:
        raise ArtefactError(
            f"{found} cannot be published here: {error}; run the command in the folder of that step's file"
        ) from error


def rollback(target: Path, reason: str = "", *, instead_of: int | None = None) -> int:
    """Serve the version before the served one again, and withdraw the served one.

    Args:
        target: a published model repository.
        reason: why, for people.
        instead_of: the version that must still be served; None: any.

    Returns:
        The number of the version that is served now.

    Raises:
        ArtefactError: `target` holds no published chain, no older version, or the older one was altered; or another
            version than `instead_of` is served by now.
    """
    model = target / MODEL_NAME
    if not (model / CONFIG_FILE).is_file():
        raise ArtefactError(f"{target} holds no published model '{MODEL_NAME}'; give the folder of export --publish")
    with writing("rollback", target), hold(model, writes=["versions"]):
        served = _served(model)
        if instead_of not in (None, served):
            raise ArtefactError(f"{target} serves version {served} by now, not version {instead_of}: look at it again")
        older = older_version(target)
        if older is None:
            raise ArtefactError(f"{target} holds no version older than {served}, so there is nothing to roll back to")
        for folder in (model / str(older), *target.glob(f"{MODEL_NAME}_v{older}_*")):
            verify(folder)
        replace_file(model / CONFIG_FILE, (model / str(older) / CONFIG_FILE).read_text())
        # Out of the numbers, or the next rollback would bring it back.
        (model / str(served)).rename(model / f".{served}{WITHDRAWN}")
        note_withdrawn(target, served, older, reason)
    return older


def older_version(target: Path) -> int | None:
    """The version that a rollback would serve; None: there is none, or nothing is published there."""
    model = target / MODEL_NAME
    if not is_published(target):
        return None
    served = _served(model)
    # A variant was never what all were served.
    served_once = set(_versions(model)) - variant_versions(target)
    return max((version for version in served_once if version < served), default=None)


def _check_served(target: Path, wanted: int | None) -> None:
    served = _served(target / MODEL_NAME)
    if wanted is not None and served != wanted:
        raise ArtefactError(
            f"{target} serves version {served} by now, and the new version was compared with version {wanted}; run the "
            "same command again"
        )


def _write_version(
    run: Run, config: Config, target: Path, layout: str, version: int, info: Mapping[str, object]
) -> None:
    """The new version, whole, under its number; not served yet."""
    exported, fresh = run.folder("repo") / layout, target / MODEL_NAME / f".{version}{NEW}"
    if layout == "fused":
        _write_fused(exported, fresh, version)
    else:
        _write_ensemble(exported, fresh, target, config, version)
    exported_as = read_manifest(run.folder("repo"))
    sign(fresh, exported_as, {"version": version, "layout": layout, "run": str(run.root.absolute()), **info})
    fresh.rename(target / MODEL_NAME / str(version))


def _write_fused(exported: Path, fresh: Path, version: int) -> None:
    copy_folder(_only_version(exported, MODEL_NAME), fresh)
    chain = fresh / CHAIN_FOLDER
    (fresh / CONFIG_FILE).write_text(fused_config(ChainSpec.load(chain), Plan.load(chain), Names(version)))


def _write_ensemble(exported: Path, fresh: Path, target: Path, config: Config, version: int) -> None:
    """The version folder, and the step models: each built aside and renamed into the repository when whole."""
    names, old_names = Names(version, f"{MODEL_NAME}_v{version}", config.chain.onnx_steps), Names()
    copy_folder(_only_version(exported, MODEL_NAME), fresh)
    spec, plan = ChainSpec.load(fresh), Plan.load(fresh)
    for model in plan.models:
        aside = fresh.with_suffix(".step")
        copy_folder(exported / old_names.step(model), aside)
        (aside / CONFIG_FILE).write_text(step_config(spec, plan, model, names))
        sign(aside, read_manifest(exported.parent), {"version": version, "step": model})
        aside.rename(target / names.step(model))
    (fresh / CONFIG_FILE).write_text(tied_config(spec, plan, names))


def _only_version(exported: Path, name: str) -> Path:
    return exported / name / "1"


def _served(model: Path) -> int:
    """The version that config.pbtxt names; 0 before the first publish."""
    path = model / CONFIG_FILE
    if not path.is_file():
        return 0
    try:
        return served_version(path.read_text())
    except ValueError:
        raise ArtefactError(
            f"{path} was not written by cascade export; publish into an empty folder, or remove this model first"
        ) from None


def _next_version(model: Path) -> int:
    return max([_served(model), *_versions(model), *_versions(model, WITHDRAWN)]) + 1


def _versions(model: Path, suffix: str = "") -> list[int]:
    """Numbers of the version folders; with a suffix, of the hidden ones that end in it."""
    names = [path.name for path in model.iterdir() if path.is_dir()]
    if suffix:
        names = [name[1 : -len(suffix)] for name in names if name.startswith(".") and name.endswith(suffix)]
    return sorted(int(name) for name in names if name.isdigit())


def _sweep(target: Path) -> None:
    """Remove what a killed publish or a rollback left: hidden folders, and step models of versions that are gone.

    A withdrawn version stays as long as requests in a log name it: why it was withdrawn can be found out then.
    """
    model = target / MODEL_NAME
    served, logged = _served(model), _logged(target)
    variants = variant_versions(target)
    newer = [version for version in _versions(model) if version > served]
    never_served = [model / str(version) for version in newer if version not in variants]
    hidden = [path for path in model.glob(".*") if path.name != CLAIMS and path.is_dir() and path not in logged]
    for path in (*hidden, *never_served):
        if path.name.endswith(WITHDRAWN):
            note_removed(target, int(path.name[1 : -len(WITHDRAWN)]))
        shutil.rmtree(path)
    there = {str(version) for suffix in ("", WITHDRAWN) for version in _versions(model, suffix)}
    for path in target.glob(f"{MODEL_NAME}_v*"):
        owner = VERSION_MODEL.fullmatch(path.name)
        if owner is not None and (owner[1] not in there or (not owner[2] and int(owner[1]) not in variants)):
            shutil.rmtree(path)


def _logged(target: Path) -> dict[Path, str]:
    """The versions that requests in a log name, each with a folder that holds such requests."""
    keys = claimed_keys(target)
    return {path: keys[key] for _, key, path in version_folders(target) if key in keys}


@contextmanager
def _swept(target: Path) -> Iterator[None]:
    """Remove leftovers: of an earlier publish that was killed, and of this one when it fails."""
    _sweep(target)
    try:
        yield
    except BaseException:
        _sweep(target)
        raise


def _prune(target: Path, keep: int) -> None:
    model, logged, variants = target / MODEL_NAME, _logged(target), variant_versions(target)
    served = [version for version in _versions(model) if version not in variants]
    for version in served[: -max(keep, 1)]:
        folder = model / str(version)
        if folder in logged:
            console.say(f"publish: version {version} stays: requests in {logged[folder]} name it")
            continue
        note_removed(target, version)
        shutil.rmtree(folder)
    _sweep(target)
