"""Logs of the simulated shop and the true value of another policy: visits with candidates, two rankers that are wrong.

A slate of 5 is drawn from 20 candidates that are on sale. Each ranker knows the true logit of a click but for an error
of its own for each user and item. One logs, at temperature 1; the other is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runtime import explore
from workflows.decisions.choices import Choices
from workflows.decisions.log import DecisionLog
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import Shop, draw_visits, open_shop
from workflows.shop.play import expect
from workflows.shop.visits import Slates, Visits

__all__ = ["NUM_CANDIDATES", "SLATE_SIZE", "Laboratory", "open_laboratory"]

NUM_CANDIDATES, SLATE_SIZE = 20, 5
NUM_VISITS = 30_000
ERROR = 0.55  # standard deviation of a ranker's error of a logit
PLAYS = 600_000
CROWDING = 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Laboratory:
    """Visits that logs are drawn from.

    Attributes:
        shop: whose users answer.
        visits: V of them.
        candidates: int64 [V, C], item rows, ascending.
        logging, target: float64 [V, C], utilities of both rankers.
    """

    shop: Shop
    visits: Visits
    candidates: NDArray[np.int64]
    logging: Floats
    target: Floats

    def truth(self, temperature: float) -> float:
        """Clicks a slate of the target policy, over 600,000 plays whose clicks are summed up and not drawn."""
        rng, sums = np.random.default_rng(17), []
        for _ in range(PLAYS // len(self.visits)):
            places = self._draw(self.target, np.arange(len(self.visits)), temperature, rng).places
            sums.append(self._clicks(np.arange(len(self.visits)), places).sum(axis=1).mean())
        return float(np.mean(sums))

    def log(self, size: int, temperature: float, seed: int) -> tuple[DecisionLog, Choices]:
        """A log of `size` slates by the logging ranker, and the target's choices there."""
        rng = np.random.default_rng([seed, 5])
        rows = rng.integers(len(self.visits), size=size)
        drawn = self._draw(self.logging, rows, 1.0, rng)
        clicks = rng.random(drawn.places.shape) < self._clicks(rows, drawn.places)
        log = DecisionLog(
            request_ids=np.arange(size).astype(str),
            users=self.visits.users[rows],
            user_ids=np.arange(self.shop.config.num_users),
            items=np.take_along_axis(self.candidates[rows], drawn.places, axis=1),
            item_ids=np.arange(self.shop.config.num_items),
            log_propensity=drawn.log_propensity,
            rewards=clicks.astype(np.float64),
            candidates=np.zeros((size, 0), np.int64),
            candidate_scores=np.zeros((size, 0)),
            temperature=np.ones(size),
            context=pa.table({}),
            refused=[],
        )
        return log, Choices(self.candidates[rows], self.target[rows], np.full(size, temperature))

    def _draw(
        self, utilities: Floats, rows: NDArray[np.int64], temperature: float, rng: np.random.Generator
    ) -> explore.Draw:
        return explore.sample(utilities[rows], SLATE_SIZE, temperature, rng.integers(2**62, size=len(rows)))

    def _clicks(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> Floats:
        """Probabilities of a click at each slot."""
        items = np.take_along_axis(self.candidates[rows], places, axis=1)
        slates = Slates(items, np.zeros(items.shape), np.zeros(len(items), bool), "")
        return np.asarray(expect(self.shop, self.visits.take(rows), slates).click)


def open_laboratory(*, crowded: bool, seed: int = 1) -> Laboratory:
    """A shop of 4,000 users and 1,000 items.

    Args:
        crowded: whether an item takes clicks from those of its category further down.
        seed: of visits, candidates and errors.
    """
    shop = open_shop(
        ShopConfig(num_users=4_000, num_items=1_000, out_of_stock_fraction=0.0, cold_item_fraction=0.0, seed=7)
    )
    shop = shop.with_crowding(CROWDING) if crowded else shop
    rng = np.random.default_rng(seed)
    visits = draw_visits(shop, NUM_VISITS, seed)
    chance = rng.random((NUM_VISITS, shop.config.num_items))
    candidates = np.sort(np.argpartition(chance, NUM_CANDIDATES, axis=1)[:, :NUM_CANDIDATES], axis=1)
    at, device, hour = (values[:, None] for values in (visits.at, visits.device, visits.hour))
    logit = shop.world.truth.click_logit(visits.users[:, None], candidates, at, device, hour).astype(np.float64)
    pairs = (visits.users[:, None] * shop.config.num_items + candidates).astype(np.int64)
    logging, target = (logit + ERROR * _normal(explore.mixed(np.array(side), pairs)) for side in (1, 2))
    return Laboratory(shop, visits, candidates, logging, target)


def _normal(keys: NDArray[np.uint64]) -> Floats:
    """Standard normal numbers of hashes, the same for the same user and item at every visit (Box and Muller)."""
    radius, angle = explore.uniform(keys), explore.uniform(explore.mixed(keys, 7))
    return np.asarray(np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle))
