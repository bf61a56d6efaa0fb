"""The files of the version that answered: its profile, and its steps to be asked once more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.export.layouts import MODEL_NAME, STEP_VERSION, Names
from ensemble.profile.ask import OpenChain, open_chain
from ensemble.profile.profile import PROFILE_FILE, Profile
from runtime.chain import OpenNode
from runtime.ids import IdMap
from runtime.log.identity import chain_key, manifest_of
from runtime.plan import Plan
from runtime.spec import ChainSpec
from runtime.stream.live import without_live_state
from runtime.triton import CHAIN_FOLDER
from workflows.core.errors import ArtefactError

__all__ = ["Version", "find_version"]

DAY_S = 86_400


@dataclass(frozen=True)
class Version:
    """What there is of a version; where something is missing, `lacks` says why.

    Attributes:
        chain_key: of the requests that it answered.
        number: of the model.
        made_at: seconds since 1970; 0: unknown.
        profile: the reference of its signals.
        chain: its steps.
        lacks: sentences.
    """

    chain_key: str
    number: int
    made_at: float
    profile: Profile | None
    chain: OpenChain | None
    lacks: tuple[str, ...]

    def ages(self, day: int) -> dict[str, float]:
        """Days from the version's making, and from its newest event, to the end of a day, as far as they are known."""
        end = (day + 1) * DAY_S
        newest = self.profile.info.newest_event / 1e9 if self.profile else 0
        found = {"model_age_days": self.made_at, "data_age_days": newest}
        return {name: (end - at) / DAY_S for name, at in found.items() if at}


def find_version(record: Mapping[str, Any]) -> Version:
    """Find and open the version of a record of MON/chains/; what cannot be used is left out and said.

    Args:
        record: chain_key, model_version, repositories (layout -> folder).
    """
    key, number, lacks = record["chain_key"], int(record["model_version"]), []
    for layout, place in record["repositories"].items():
        for folder in _folders(Path(place), number):
            manifest = manifest_of(folder)
            if manifest is None or chain_key(folder) != key:
                lacks.append(f"{folder} is not the version that answered: another one has taken its place")
                continue
            made_at = datetime.fromisoformat(json.loads(manifest.read_text())["created_at"]).timestamp()
            return _open(folder, layout, key, number, made_at, manifest)
    places = ", ".join(record["repositories"].values())
    return Version(key, number, 0.0, None, None, tuple(lacks or [f"version {number} is no longer in {places}"]))


def _folders(repository: Path, number: int) -> list[Path]:
    """Where a version may be: served, or withdrawn."""
    model = repository / MODEL_NAME
    return [folder for folder in (model / str(number), model / f".{number}.withdrawn") if folder.is_dir()]


def _open(folder: Path, layout: str, key: str, number: int, made_at: float, manifest: Path) -> Version:
    lacks = []
    profile, chain = None, None
    path = (folder / CHAIN_FOLDER if layout == "fused" else folder) / PROFILE_FILE
    try:
        _check(path, manifest)
        profile = Profile.load(path)
    except ArtefactError as error:
        lacks.append(f"without a comparison with training: {error}")
    try:
        chain = open_chain(folder / CHAIN_FOLDER) if layout == "fused" else _open_steps(folder, number)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        lacks.append(f"without features: {folder} cannot be opened ({error})")
    return Version(key, number, made_at, profile, chain, tuple(lacks))


def _check(path: Path, manifest: Path) -> None:
    """The profile is the one that was made with the version.

    Raises:
        ArtefactError: it is absent or another one.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} is missing: an earlier release exported this version; export and publish again")
    listed = {entry["path"]: entry["sha256"] for entry in json.loads(manifest.read_text())["files"]}
    name = path.relative_to(manifest.parent).as_posix()
    if hashlib.sha256(path.read_bytes()).hexdigest() != listed.get(name):
        raise ArtefactError(f"{path} is not the profile that was made with this version; export and publish again")


def _open_steps(folder: Path, number: int) -> OpenChain:
    """The layout "ensemble": each step in the folder of its model."""
    spec, plan, repository = ChainSpec.load(folder), Plan.load(folder), folder.parents[1]
    published = Names(number, f"{MODEL_NAME}_v{number}")
    names = published if (repository / published.step(plan.models[0])).is_dir() else Names(number)
    places = {model: repository / names.step(model) / str(STEP_VERSION) / CHAIN_FOLDER for model in plan.models}
    with without_live_state():
        nodes = [OpenNode(node, places[node.model], spec) for node in plan.nodes]
    last = places[plan.nodes[-1].model]
    return OpenChain(spec, plan, nodes, IdMap(np.load(last / "ids/items.npy", mmap_mode="r"), padded=True))
