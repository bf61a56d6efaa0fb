"""Policies that score every item on sale: their slates are drawn by the sampler that a served chain uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtime import explore
from workflows.shop.truth import Array
from workflows.shop.visits import Slates, Visits
from workflows.shop.world import World

__all__ = ["ScoredPolicy", "true_clicks"]

VISITS_PER_PART = 256


@dataclass(frozen=True)
class ScoredPolicy:
    """A sequential softmax of a score over all that is on sale.

    Attributes:
        world: users and items.
        score: of every item for B visits, float64 [B, N].
        width: items of a slate.
        temperature: above 0; the lower, the closer to the descending order.
        name: in the log.
        tells_candidates: whether the log gets every score, N of them a slate.
    """

    world: World
    score: Callable[[Visits], Array]
    width: int
    temperature: float
    name: str = "scored"
    tells_candidates: bool = False

    def __call__(self, rng: np.random.Generator, visits: Visits) -> Slates:
        """Draw a slate for each visit."""
        seeds = rng.integers(2**62, size=len(visits))
        parts = [slice(first, first + VISITS_PER_PART) for first in range(0, len(visits), VISITS_PER_PART)]
        drawn = [
            explore.sample(self.scores(visits.take(part)), self.width, self.temperature, seeds[part]) for part in parts
        ]
        items, log = (np.concatenate(values) for values in zip(*drawn, strict=True))
        never = np.zeros(len(visits), dtype=bool)
        if not self.tells_candidates:
            return Slates(items, log, never, self.name)
        scores = self.scores(visits)
        candidates = np.where(np.isneginf(scores), -1, np.arange(scores.shape[1]))
        return Slates(items, log, never, self.name, candidates, scores, self.temperature)

    def log_propensities(self, visits: Visits, items: Array) -> Array:
        """Log probability of each slot of given slates [B, S], given the slots before it; float64 [B, S]."""
        parts = [slice(first, first + VISITS_PER_PART) for first in range(0, len(visits), VISITS_PER_PART)]
        return np.concatenate(
            [explore.log_propensities(self.scores(visits.take(part)), items[part], self.temperature) for part in parts]
        )

    def scores(self, visits: Visits) -> Array:
        """Scores of what is on sale, -inf elsewhere, float64 [B, N]."""
        truth, at = self.world.truth, visits.at[:, None]
        on_sale = (truth.launched_at <= at) & (at < truth.sold_out_at)
        if visits.sold_out is not None:
            on_sale &= ~visits.sold_out[visits.region]
        return np.where(on_sale, self.score(visits), -np.inf)


def true_clicks(world: World) -> Callable[[Visits], Array]:
    """The best score for clicks: the true logit that an item is clicked once it is looked at."""
    every = np.arange(len(world.item_weight))[None, :]

    def score(visits: Visits) -> Array:
        by_visit = (visits.at[:, None], visits.device[:, None], visits.hour[:, None])
        return world.truth.click_logit(visits.users[:, None], every, *by_visit).astype(np.float64)

    return score
