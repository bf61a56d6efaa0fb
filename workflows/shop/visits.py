"""Who comes to the shop, when and how; and what a policy answers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from workflows.shop.truth import Array

__all__ = ["Policy", "Slates", "Visits"]


@dataclass(frozen=True)
class Visits:
    """B visits in order of time, one slate each.

    Attributes:
        users: int64 [B], rows.
        at: int64 [B], epoch nanoseconds.
        device: int64 [B], codes.
        region: int64 [B], where the user's orders are delivered; zeros in a shop without [shop.stock].
        sold_out: bool [regions, N], what no warehouse of a region has as these visits begin; None: nothing is.
    """

    users: Array
    at: Array
    device: Array
    region: Array
    sold_out: Array | None = None

    @property
    def hour(self) -> Array:
        """Hour of the day, 0 to 23, int64 [B]."""
        return np.asarray(self.at // 3_600_000_000_000 % 24)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Array | slice) -> Visits:
        """Some of the visits."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ("users", "at", "device", "region")})


@dataclass(frozen=True)
class Slates:
    """What a policy shows at B visits, and how probable that was.

    Attributes:
        items: int64 [B, S], item rows, distinct in a row; -1 for none, after all others.
        log_propensity: float64 [B, S], natural logarithm of the probability with which the policy shows this item at
            this slot, given the slots before it; 0 where nothing was left to chance.
        explored: bool [B], slates that were drawn uniformly.
        policy: its name in the log.
        candidates: int64 [B, C], item rows that were scored, -1 for none; None: not told.
        scores: float64 [B, C], their utilities.
        temperature: of the softmax over `scores`.
    """

    items: Array
    log_propensity: Array
    explored: Array
    policy: str
    candidates: Array | None = None
    scores: Array | None = None
    temperature: float | None = None


Policy = Callable[[np.random.Generator, Visits], Slates]
