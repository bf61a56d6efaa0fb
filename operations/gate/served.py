"""The served version: which it is, and what it knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ensemble.kept_versions import is_published
from ensemble.serving.repository import find_repository, served_number
from operations.gate.candidate import Candidate
from operations.gate.exported import plan_folder, read_profile
from operations.replay.errors import NotReplayableError
from operations.replay.versions import Version, find_given
from runtime.spec import ChainSpec
from workflows.core.artefacts import Manifest, read_manifest
from workflows.core.errors import ArtefactError, CascadeError

__all__ = ["ServedVersion", "open_served"]

DAY_S = 86_400


@dataclass(frozen=True)
class ServedVersion:
    """What is served now.

    Attributes:
        repository: the model repository.
        version: to be asked.
        manifest: of the version.
        newest: nanoseconds since 1970 of the newest event that it knows; 0: unknown.
        spec: of its chain.
    """

    repository: Path
    version: Version
    manifest: Manifest
    newest: int
    spec: ChainSpec

    @property
    def age_days(self) -> float:
        """Since it was exported."""
        made_at = datetime.fromisoformat(self.manifest.created_at)
        return (datetime.now(timezone.utc) - made_at).total_seconds() / DAY_S

    @property
    def run(self) -> Path | None:
        """The run that it was published from, as far as the version says."""
        return Path(str(found)) if (found := self.manifest.info.get("run")) else None


def open_served(repository: Path, candidate: Candidate) -> ServedVersion:
    """The version that a repository serves.

    Args:
        repository: what `export --publish` made.
        candidate: that is to take its place.

    Raises:
        ArtefactError: nothing is served, or it is altered, or it was not published.
        CascadeError: it is another product's.
    """
    if not repository.is_dir() or not any(repository.iterdir()):
        raise ArtefactError(
            f"{repository} serves nothing yet, so that there is nothing to compare with; publish the first version "
            "without --gate"
        )
    found = find_repository(repository)
    if not is_published(found):
        raise ArtefactError(
            f"{repository} holds an export and no published version; give the folder of cascade export --publish"
        )
    try:
        version = find_given(found, "fused", "", int(served_number(found)))
    except NotReplayableError as error:
        raise ArtefactError(str(error)) from error
    _check_product(repository, version, candidate)
    profile, _ = read_profile(version)
    newest = 0 if profile is None else profile.info.newest_event
    return ServedVersion(found, version, read_manifest(version.folder), newest, _spec(version))


def _spec(version: Version) -> ChainSpec:
    try:
        return ChainSpec.load(plan_folder(version))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{version.folder}, which is served, cannot be read by this Cascade ({error}): publish the next version "
            "without --gate"
        ) from None


def _check_product(repository: Path, version: Version, candidate: Candidate) -> None:
    """The same catalogue, at least in part.

    Raises:
        CascadeError: they share no item.
    """
    served = version.ids("items")
    if served.dtype.kind != candidate.item_ids.dtype.kind:
        kinds = ["text" if ids.dtype.kind == "S" else "numbers" for ids in (served, candidate.item_ids)]
        raise CascadeError(
            f"{repository} names items by {kinds[0]}, {candidate.run.root} by {kinds[1]}: it is another product's; "
            "give the repository that this run is to be published to"
        )
    if not np.isin(candidate.item_ids, served).any():
        raise CascadeError(
            f"{repository} serves {len(served):,} items, none of which {candidate.run.root} knows: it is another "
            "product's; give the repository that this run is to be published to"
        )
