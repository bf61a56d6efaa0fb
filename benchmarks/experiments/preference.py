"""How many sessions show which of two rankers has more clicks: half of the users each, or one slate of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.interleave import credit, interleave
from workflows.shop.config import ShopConfig
from workflows.shop.world import draw_world

__all__ = ["Sessions", "Shop", "sessions_needed"]

SLATE, CANDIDATES, NOISE = 10, 60, 1.0
SHOP = ShopConfig(num_users=4_000, num_items=2_000)
# Of a two-sided test at 5% that finds what there is in 80%.
Z_TEST, Z_POWER = 1.959964, 0.841621
Floats = NDArray[np.float64]


class Sessions(NamedTuple):
    """What it takes to tell.

    Attributes:
        gain: of the second ranker's clicks a session, relative.
        split: sessions in all where each reader sees one ranker.
        interleaved: sessions where each slate is of both.
        preferred: share of the interleaved sessions with a preference in which it is the second ranker's.
    """

    gain: float
    split: float
    interleaved: float
    preferred: float


class Shop:
    """Sessions of the simulated shop: what a user would click, and what two rankers believe of it.

    Args:
        num_sessions: each of one user with candidates of its own.
        seed: of every draw.
        is_alike: whether both rankers err on the same items, as two versions of one model do; otherwise each errs for
            itself.
    """

    def __init__(self, num_sessions: int, seed: int, *, is_alike: bool = False) -> None:
        rng, truth = np.random.default_rng(seed), draw_world(SHOP).truth
        users = rng.choice(truth.user_ids, num_sessions)
        picked = rng.integers(0, len(truth.item_ids), (num_sessions, CANDIDATES))
        at = rng.integers(int(truth.log_from_to[0]), int(truth.log_from_to[1]), num_sessions)
        # Row by row: users with lists of their own.
        chances = truth.click_probability(
            users[:, None], truth.item_ids[picked], at=at[:, None], device="mobile", hour=rng.integers(0, 24)
        )
        self.chances: Floats = np.asarray(chances, np.float64)
        self.examined: Floats = np.asarray(truth.examination(np.arange(1, SLATE + 1)), np.float64)
        self._logits = np.log(self.chances) - np.log1p(-self.chances)
        first = rng.standard_normal(self.chances.shape)
        self._errors = first, first if is_alike else rng.standard_normal(self.chances.shape)

    def orders(self, ranker: int, noise: float) -> NDArray[np.int64]:
        """All candidates by ranker 0 or 1, wrong by `noise` of its errors; [sessions, CANDIDATES], best first."""
        return np.argsort(-(self._logits + noise * self._errors[ranker]), axis=1, kind="stable")

    def expected(self, orders: NDArray[np.int64]) -> float:
        """Clicks a session that the orders would have."""
        return float((np.take_along_axis(self.chances, orders[:, :SLATE], axis=1) * self.examined).sum(axis=1).mean())

    def noise_for(self, gain: float) -> float:
        """How wrong ranker 1 is where it has `gain` more clicks than ranker 0 with NOISE."""
        goal, low, high = self.expected(self.orders(0, NOISE)) * (1 + gain), 0.0, NOISE
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected(self.orders(1, middle)) > goal else (low, middle)
        return (low + high) / 2


def sessions_needed(shop: Shop, gain: float, seed: int, progress: Callable[[], None] = lambda: None) -> Sessions:
    """Sessions to tell a ranker with `gain` more clicks from one with none.

    Args:
        shop: whose sessions are played.
        gain: relative.
        seed: of clicks and tosses.
        progress: called a session.
    """
    rng = np.random.default_rng(seed)
    first, second = shop.orders(0, NOISE), shop.orders(1, shop.noise_for(gain))
    clicks = [_clicks(rng, shop, orders[:, :SLATE]) for orders in (first, second)]
    a, b = (shown.sum(axis=1) for shown in clicks)
    # Of two groups of n readers each, n * 2 in all.
    wanted = (Z_TEST + Z_POWER) ** 2
    effect = shop.expected(second) - shop.expected(first)
    split = 2 * wanted * (a.var() + b.var()) / effect**2
    scores = np.empty(len(first))
    for session in range(len(first)):
        slate = interleave(first[session].tolist(), second[session].tolist(), SLATE, seed=seed + session)
        drawn = rng.random(SLATE) < shop.chances[session, slate.items] * shop.examined
        scores[session] = credit(slate.teams, drawn)
        progress()
    interleaved = wanted * scores.var() / scores.mean() ** 2
    told = scores[scores != 0]
    return Sessions(effect / shop.expected(first), float(split), float(interleaved), float((told > 0).mean()))


def _clicks(rng: np.random.Generator, shop: Shop, slates: NDArray[np.int64]) -> NDArray[np.bool_]:
    return rng.random(slates.shape) < np.take_along_axis(shop.chances, slates, axis=1) * shop.examined
