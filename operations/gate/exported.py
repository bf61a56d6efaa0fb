"""What the files of an export say: whom and what it knows, what may be shown, and its profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.profile import PROFILE_FILE, Profile
from operations.replay.versions import Version
from runtime.index.eligible import ELIGIBLE_FILE
from runtime.spec import ChainSpec
from runtime.triton import CHAIN_FOLDER
from workflows.core.artefacts import Manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Exported", "plan_folder", "read_exported", "read_profile", "vectors_lost"]

# Vectors that are compared, and how far one may be off, of its length: a number of half the bits is not.
VECTORS = {
    "item_embeddings.npy": "retrieval/item_embeddings.npy",
    "ranker/item_fields.npy": "ranking/item_fields.npy",
    "ranker/item_hidden.npy": "ranking/item_hidden.npy",
}
MOST_VECTORS, MOST_OFF = 2_000, 0.05


@dataclass(frozen=True)
class Exported:
    """One version, as its files say it.

    Attributes:
        version: to be asked.
        spec: of its chain.
        user_ids, item_ids: raw ids by row, ascending.
        made_at: nanoseconds since 1970.
        eligible: bool [N], the items that may be shown; None where no step of the chain reads that.
        profile: None where there is none that can be read.
        lacks: why there is none; "" where there is one.
    """

    version: Version
    spec: ChainSpec
    user_ids: NDArray
    item_ids: NDArray
    made_at: int
    eligible: NDArray[np.bool_] | None
    profile: Profile | None
    lacks: str = ""


def plan_folder(version: Version) -> Path:
    """Where its chain.json and its profile are."""
    return version.folder if version.steps else version.folder / CHAIN_FOLDER


def read_exported(version: Version, manifest: Manifest) -> Exported:
    """Read a version's files.

    Args:
        version: whose they are.
        manifest: of its export or publication.

    Raises:
        OSError, ValueError: it is not whole, or of another release.
    """
    profile, lacks = read_profile(version)
    spec = ChainSpec.load(plan_folder(version))
    users, items = (version.ids(name) for name in ("users", "items"))
    made_at = int(datetime.fromisoformat(manifest.created_at).timestamp()) * 10**9
    return Exported(version, spec, users, items, made_at, _eligible(version, len(items)), profile, lacks)


def read_profile(version: Version) -> tuple[Profile | None, str]:
    """A version's profile, or why there is none that can be read."""
    path = plan_folder(version) / PROFILE_FILE
    if not path.is_file():
        return None, f"version {version.number} was exported by a release that wrote no profile"
    try:
        return Profile.load(path), ""
    except ArtefactError as error:
        return None, str(error)


def _eligible(version: Version, num_items: int) -> NDArray[np.bool_] | None:
    for folder in _chain_folders(version):
        if (folder / ELIGIBLE_FILE).is_file():
            packed = np.load(folder / ELIGIBLE_FILE, allow_pickle=False)
            return np.unpackbits(packed, bitorder="little")[:num_items].astype(bool)
    return None


def vectors_lost(exported: Exported, run: Run) -> float:
    """The share of the items whose vectors, of towers and ranker, are not those that the run has made."""
    lost = [0.0]
    for name, stage in VECTORS.items():
        made = run.root / stage
        folders = (folder for folder in _chain_folders(exported.version) if (folder / name).is_file())
        if made.is_file() and (folder := next(folders, None)) is not None:
            ours, theirs = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (folder / name, made))
            lost.append(_share_off(ours, theirs) if ours.shape == theirs.shape else 1.0)
    return max(lost)


def _share_off(ours: NDArray, theirs: NDArray) -> float:
    rows = np.unique(np.linspace(0, len(ours) - 1, min(MOST_VECTORS, len(ours))).astype(np.int64))
    mine, made = (np.asarray(values[rows], np.float64).reshape(len(rows), -1) for values in (ours, theirs))
    return float((np.linalg.norm(mine - made, axis=1) > MOST_OFF * np.linalg.norm(made, axis=1)).mean())


def _chain_folders(version: Version) -> Iterator[Path]:
    yield from (path / CHAIN_FOLDER for path in (*version.steps.values(), version.folder))
