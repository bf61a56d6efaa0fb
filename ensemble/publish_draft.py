"""A model that drafts slates from those of what is served and of a variant: one more version beside the two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME, runtime_sources, write_library
from ensemble.export.pbtxt import python_config
from ensemble.publish import place_beside
from ensemble.publish_files import sign
from ensemble.serving.repository import chain_file, served_number
from ensemble.variants import model_of
from runtime.drafts.log import STEP
from runtime.drafts.spec import DraftSpec, Team, drafted_spec
from runtime.spec import CHAIN_FILE, ChainSpec, Instances
from runtime.triton import CHAIN_FOLDER
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError

__all__ = ["check_draft", "publish_draft"]

ITEMS, USERS = "ids/items.npy", "ids/users.npy"


def publish_draft(
    target: Path,
    experiment: str,
    salt: str,
    teams: tuple[tuple[str, int], tuple[str, int]],
    beside: Callable[[int], None],
) -> int:
    """Add a model that drafts.

    Args:
        target: the model repository.
        experiment: its name.
        salt: of the tosses.
        teams: name and version of the control, which is what is served, and of the variant beside it.
        beside: see `ensemble.publish.publish`.

    Returns:
        The number of its version.

    Raises:
        ArtefactError: the two versions do not take the same requests; or see `ensemble.publish.place_beside`.
    """
    (control, served), (variant, other) = teams
    specs = [_spec(target, version) for version in (served, other)]
    spec = _drafted(*specs)
    draft = DraftSpec(
        experiment,
        salt,
        (
            _team(control, MODEL_NAME, served, specs[0]),
            _team(variant, model_of(other), other, specs[1]),
        ),
    )

    def write(folder: Path, version: int) -> None:
        chain = folder / CHAIN_FOLDER
        (chain / "ids").mkdir(parents=True)
        spec.save(chain)
        draft.save(chain)
        items = [np.load(_file(target, each, ITEMS), allow_pickle=False) for each in (served, other)]
        # Rows of the log are of these.
        np.save(chain / ITEMS, np.union1d(*items))
        (chain / USERS).write_bytes(_file(target, served, USERS).read_bytes())
        write_library(folder, "runtime.drafts.model", runtime_sources())
        tensors = draft.request(spec), draft.response(spec)
        (folder / CONFIG_FILE).write_text(
            python_config(
                MODEL_NAME, STEP, version, spec.max_batch_size, *tensors, Instances(count=spec.instances.count)
            )
        )
        info = {"version": version, "layout": "fused", "drafts_from": [served, other]}
        sign(folder, read_manifest(target / MODEL_NAME / str(other)), info)

    return place_beside(target, write, beside)


def check_draft(target: Path, exported: Path) -> None:
    """See whether slates can be drafted from what is served and an export.

    Args:
        target: the model repository.
        exported: a folder with the model `cascade` of one layout.

    Raises:
        ArtefactError: a request that is good for one is refused by the other.
    """
    found = chain_file(exported, "1", CHAIN_FILE)
    if found is not None:
        _drafted(_spec(target, int(served_number(target))), ChainSpec.load(found.parent))


def _drafted(first: ChainSpec, second: ChainSpec) -> ChainSpec:
    try:
        return drafted_spec(first, second)
    except ValueError as error:
        raise ArtefactError(
            f"slates of these two cannot be drafted into one: {error}; a request is asked of both, so export the "
            "variant with what the served version takes"
        ) from error


def _team(name: str, model: str, version: int, spec: ChainSpec) -> Team:
    return Team(name, model, version, tuple(tensor.name for tensor in spec.request), spec.explores)


def _spec(target: Path, version: int) -> ChainSpec:
    return ChainSpec.load(_file(target, version, CHAIN_FILE).parent)


def _file(target: Path, version: int, name: str) -> Path:
    found = chain_file(target, str(version), name)
    if found is None:
        raise ArtefactError(f"version {version} of {target} has no {name}; export its run again and publish it")
    return found
