"""Who gets an item: how many of a sample of users, and of which segments more or fewer than of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from console.audience import Sample
from console.catalogue import text
from console.segments import Segment
from console.site import Open
from runtime.step import load_array

__all__ = ["Group", "Reach", "reach_of"]

Z95 = 1.959964
# A segment of fewer users says nothing.
FEWEST_USERS = 20
MOST_USERS_SHOWN = 5


@dataclass(frozen=True)
class Group:
    """Some users of the sample.

    Attributes:
        column, value: what they have in common; empty: all.
        num_users: of them.
        in_candidates, in_slates: users whose candidates, and whose slates, have the item.
        low, high: of the share of slates, 95%.
        differs: "more" or "fewer" where the share of all is outside; else empty.
    """

    column: str
    value: str
    num_users: int
    in_candidates: int
    in_slates: int
    low: float
    high: float
    differs: str = ""


@dataclass(frozen=True)
class Reach:
    """Who gets an item.

    Attributes:
        num_done, num_users: of the sample, those whose answers are known, and all.
        problem: why no more come; empty: they do, or all are there.
        of_all: the users whose answers are known.
        mean_place: in the slates that have it, from 1 on; NaN: in none.
        groups: segments, those that differ first.
        shown_to: some users who get it, as text.
    """

    num_done: int
    num_users: int
    problem: str
    of_all: Group
    mean_place: float
    groups: list[Group]
    shown_to: list[str]

    @property
    def is_done(self) -> bool:
        """Whether nothing is to come."""
        return self.num_done == self.num_users or bool(self.problem)


def reach_of(chain: Open, sample: Sample, row: int) -> Reach:
    """Who of a sample gets an item, as far as it is worked out."""
    count = sample.num_done
    shown, found = sample.slates[:count] == row, (sample.candidates[:count] == row).any(axis=1)
    in_slate = shown.any(axis=1)
    everybody = Segment("", "", np.ones(count, bool))
    of_all = _group(everybody, in_slate, found, None)
    is_done = count == len(sample.users)
    users = load_array(chain.explainer.served.folder / "ids/users.npy")
    groups = _groups(sample.segments, in_slate, found) if is_done and found.any() else []
    return Reach(
        num_done=count,
        num_users=len(sample.users),
        problem=sample.problem,
        of_all=of_all,
        mean_place=float(shown.argmax(axis=1)[in_slate].mean()) + 1 if in_slate.any() else math.nan,
        groups=groups,
        shown_to=[text(users[at].item()) for at in sample.users[:count][in_slate][:MOST_USERS_SHOWN].tolist()],
    )


def _groups(segments: Sequence[Segment], in_slate: np.ndarray, found: np.ndarray) -> list[Group]:
    share = float(in_slate.mean()) if len(in_slate) else 0.0
    groups = [_group(each, in_slate, found, share) for each in segments if each.is_in.sum() >= FEWEST_USERS]
    return sorted(groups, key=lambda group: not group.differs)


def _group(segment: Segment, in_slate: np.ndarray, found: np.ndarray, share: float | None) -> Group:
    count, hits = int(segment.is_in.sum()), int(in_slate[segment.is_in].sum())
    low, high = wilson(hits, count)
    differs = "" if share is None or low <= share <= high else "more" if low > share else "fewer"
    return Group(segment.column, segment.value, count, int(found[segment.is_in].sum()), hits, low, high, differs)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share by Wilson's score; 0 to 1 where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, z2 = hits / count, Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return (max(middle - half, 0.0) if hits else 0.0), (min(middle + half, 1.0) if hits < count else 1.0)
