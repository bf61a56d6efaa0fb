"""meta.json of neighbours/."""

from __future__ import annotations

from typing import ClassVar

from models.neighbours.blend import Blend
from runtime.neighbours import Recency
from workflows.core.record import Meta

__all__ = ["NeighboursMeta"]


class NeighboursMeta(Meta, frozen=True, kw_only=True):
    """The item-item source, chosen on the valid split with what is fitted on the train split alone.

    Attributes:
        tower_weight, neighbour_weight: of the two sources' scores in the merged one.
        l2: of the regressions.
        walk_power: of the walks.
        blend: of the regressions and the walks.
        recency: how much more a user's latest items count.
        num_entries: by snapshot, "train" and "eval", the length of all lists together.
        measured: what was tried, in order: the value under the name of the setting ("walk_power", "l2", "walk_share",
            "recency_boost", "recency_decay" or "tower_share"), and as "ndcg" the mean over the users of valid.
    """

    stage: ClassVar[str] = "neighbours"

    tower_weight: float
    neighbour_weight: float
    l2: float
    walk_power: float
    blend: Blend
    recency: Recency
    num_entries: dict[str, int]
    measured: tuple[dict[str, float], ...]
