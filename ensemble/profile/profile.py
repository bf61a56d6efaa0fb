"""profile.npz: counts of what training looked like, beside the compiled chain that they were made with."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.profile.bins import Bins, Histogram, NumberBins, ValueBins
from runtime.records import from_record
from workflows.core.disk import save_npz
from workflows.core.errors import ArtefactError

__all__ = ["NO_EVENTS", "NUM_DECILES", "PROFILE_FILE", "Profile", "ProfileInfo"]

PROFILE_FILE = "profile.npz"
FORMAT_VERSION = 1
NUM_DECILES = 10
# The decile of items without a positive event.
NO_EVENTS = NUM_DECILES


@dataclass(frozen=True)
class ProfileInfo:
    """What a profile was made of.

    Attributes:
        split: whose events: valid, or train where there are no valid ones.
        num_events: events whose context was counted.
        num_queries: slates that were asked of the compiled chain, each for another user.
        num_items: N.
        slate_size: S of those slates.
        newest_event: nanoseconds since 1970 of the latest event that the chain knows; 0 where events have no timestamp.
    """

    split: str
    num_events: int
    num_queries: int
    num_items: int
    slate_size: int
    newest_event: int


@dataclass(frozen=True)
class Profile:
    """The reference of a version.

    Attributes:
        info: what it was made of.
        columns: of each raw context column.
        features: of each encoded query feature that is no list, and of the length of the history.
        scores: of each path, and "all": the scores of its slates.
        projections: of the query embedding, one a direction.
        directions: float32 [D, 16], fixed; [0, 0] where the graph makes no query embedding.
        centroid: float32 [D], the mean query embedding.
        item_decile: uint8 [N], the items by popularity in ten parts of as many positive events each, 0 the most popular
            ones; NO_EVENTS: without one.
        shown_deciles: float64 [11], how many items of each decile the slates held.
        popular: int32, item rows of the slate that a user gets of whom nothing is known.
        items: of each encoded feature of the catalogue but the id; empty where an older release wrote the profile.
    """

    info: ProfileInfo
    columns: dict[str, Histogram]
    features: dict[str, Histogram]
    scores: dict[str, Histogram]
    projections: dict[str, Histogram]
    directions: NDArray[np.float32]
    centroid: NDArray[np.float32]
    item_decile: NDArray[np.uint8]
    shown_deciles: NDArray[np.float64]
    popular: NDArray[np.int32]
    items: dict[str, Histogram] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `folder`/profile.npz."""
        about = json.dumps({"format_version": FORMAT_VERSION, **asdict(self.info)})
        groups = ((name, getattr(self, name)) for name in GROUPS)
        counted = {k: v for group, parts in groups for k, v in _arrays(group, parts)}
        plain = {name: getattr(self, name) for name in PLAIN}
        save_npz(folder / PROFILE_FILE, {"about": np.array(about), **plain, **counted})

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile.npz.

        Raises:
            ArtefactError: missing, of another format version, or not whole.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            about = json.loads(str(arrays["about"]))
            if (version := about.pop("format_version", None)) != FORMAT_VERSION:
                raise ArtefactError(
                    f"{path} has format version {version}, this Cascade reads {FORMAT_VERSION}: export again"
                )
            info = from_record(ProfileInfo, about, PROFILE_FILE)
            groups: dict[str, Any] = {group: _histograms(group, arrays) for group in GROUPS}
            return cls(info=info, **groups, **{name: arrays[name] for name in PLAIN})
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ArtefactError(f"{path} cannot be read as a profile ({error}); export and publish again") from None


GROUPS = ("columns", "features", "scores", "projections", "items")
PLAIN = ("directions", "centroid", "item_decile", "shown_deciles", "popular")


def _arrays(group: str, histograms: Mapping[str, Histogram]) -> Iterator[tuple[str, NDArray]]:
    for name, histogram in histograms.items():
        bins = histogram.bins
        kind, held = ("edges", bins.edges) if isinstance(bins, NumberBins) else ("values", bins.values)
        yield f"{group}.{name}.{kind}", held
        yield f"{group}.{name}.counts", histogram.counts
        yield f"{group}.{name}.num", np.array(histogram.num)


def _histograms(group: str, arrays: Mapping[str, NDArray]) -> dict[str, Histogram]:
    found = {}
    for key, counts in arrays.items():
        if key.startswith(f"{group}.") and key.endswith(".counts"):
            stem = key.removesuffix(".counts")
            edges = arrays.get(f"{stem}.edges")
            bins: Bins = ValueBins(arrays[f"{stem}.values"]) if edges is None else NumberBins(edges)
            found[stem.removeprefix(f"{group}.")] = Histogram(bins, counts, float(arrays[f"{stem}.num"]))
    return found
