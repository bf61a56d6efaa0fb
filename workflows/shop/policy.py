"""What the shop shows: a few positions are left to chance, the policy fills the others.

The policy is a mix of popular items and items of liked categories. A position that is left to chance shows each item
on sale at that instant with the same probability, whoever looks: clicks there tell of every item alike.
"""

from __future__ import annotations

import numpy as np

from workflows.shop.truth import Array
from workflows.shop.world import NEVER, World

__all__ = ["LoggingPolicy"]

POPULAR, TASTE = range(2)
MIX = (0.53, 0.47)  # of the positions that are not left to chance
TASTE_SHARPNESS = 1.0
MAX_REDRAWS = 6


class LoggingPolicy:
    """Shows each session distinct items that are on sale at that instant.

    Args:
        world: users and items.
        random_share: share of the positions that are left to chance.
    """

    def __init__(self, world: World, random_share: float = 0.0) -> None:
        self.world, self.random_share = world, random_share
        truth = world.truth
        self.popular = np.cumsum(world.item_weight)
        self.by_category = np.argsort(truth.item_category, kind="stable")
        self.within = np.cumsum(world.item_weight[self.by_category])
        counts = np.bincount(truth.item_category)
        self.category_end = np.cumsum(counts)
        self.category_start = self.category_end - counts
        sums = np.stack([np.bincount(truth.item_category, column) for column in truth.item_vectors.T], axis=1)
        self.category_vectors = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        self.category_share = np.bincount(truth.item_category, world.item_weight)
        self.always = np.flatnonzero((truth.sold_out_at == NEVER) & (truth.launched_at < truth.log_from_to[0]))
        self.launches, self.ends = np.sort(truth.launched_at), np.sort(truth.sold_out_at)

    def show(self, rng: np.random.Generator, users: Array, at: Array, width: int) -> tuple[Array, Array]:
        """Items of each session.

        Args:
            rng: the source of randomness.
            users: int64 [S], user rows.
            at: int64 [S], epoch nanoseconds.
            width: items in a session.

        Returns:
            int64 [S, width], item rows, distinct in a row, and bool [S, width], which positions were left to chance.
        """
        chances = self._category_chances(users, at)
        mode = rng.choice(len(MIX), size=(len(users), width), p=MIX)
        random = rng.random((len(users), width)) < self.random_share
        shown = self._by_chance(rng, random, at)
        wrong = ~random
        for _ in range(MAX_REDRAWS):
            session, slot = np.nonzero(wrong)
            if not len(session):
                return shown, random
            shown[session, slot] = self._propose(rng, mode[session, slot], chances, session)
            wrong = self._off_sale(shown, at) | _repeated(shown, first=random)
        return self._fill(rng, shown, wrong), random

    def num_on_sale(self, at: Array) -> Array:
        """How many items are on sale at some instants, int64 in the shape of `at` (epoch nanoseconds)."""
        launched, ended = (np.searchsorted(instants, at, side="right") for instants in (self.launches, self.ends))
        return np.asarray(launched - ended)

    def _by_chance(self, rng: np.random.Generator, random: Array, at: Array) -> Array:
        """Items of the positions that are left to chance, -1 elsewhere: any distinct ones on sale, equally likely.

        They are drawn before the policy fills the others and never give way to it, so that each of these positions
        shows an item with probability 1 / num_on_sale(at).
        """
        shown = np.full(random.shape, -1, dtype=np.int64)
        wrong = random
        while wrong.any():
            shown[wrong] = rng.integers(len(self.popular), size=int(wrong.sum()))
            wrong = random & (self._off_sale(shown, at) | _repeated(shown, first=random))
        return shown

    def _propose(self, rng: np.random.Generator, mode: Array, chances: Array, session: Array) -> Array:
        num_items = len(self.popular)
        chance = rng.random(len(mode))
        items = np.searchsorted(self.popular, chance * self.popular[-1], side="right")
        taste = np.flatnonzero(mode == TASTE)
        category = (chances[session[taste]] < rng.random((len(taste), 1))).sum(axis=1)
        category = np.minimum(category, chances.shape[1] - 1)
        items[taste] = self.from_category(category, chance[taste])
        return np.asarray(np.minimum(items, num_items - 1))

    def from_category(self, category: Array, chance: Array) -> Array:
        """Items of categories [R], by popularity within each; `chance` [R] is uniform in [0, 1)."""
        start, end = self.category_start[category], self.category_end[category]
        low = np.where(start > 0, self.within[start - 1], 0.0)
        place = np.searchsorted(self.within, low + chance * (self.within[end - 1] - low), side="right")
        return np.asarray(self.by_category[np.clip(place, start, end - 1)])

    def _category_chances(self, users: Array, at: Array) -> Array:
        """Cumulative chances of the categories by session, float64 [S, categories]: a softmax of the user's taste."""
        truth = self.world.truth
        cos, sin = truth.drift(at)
        taste = cos[:, None] * truth.taste_start[users] + sin[:, None] * truth.taste_end[users]
        weight = self.category_weights(taste)
        return np.asarray(np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True))

    def category_weights(self, taste: Array) -> Array:
        """What each category is worth to tastes [S, D], not normalised: [S, categories]."""
        liking = np.sqrt(taste.shape[1]) * taste @ self.category_vectors.T
        return np.asarray(self.category_share * np.exp(TASTE_SHARPNESS * liking))

    def _off_sale(self, shown: Array, at: Array) -> Array:
        truth = self.world.truth
        return np.asarray((truth.launched_at[shown] > at[:, None]) | (truth.sold_out_at[shown] <= at[:, None]))

    def _fill(self, rng: np.random.Generator, shown: Array, wrong: Array) -> Array:
        """Replace what is still wrong by items that are always on sale; there are at least `width` of those."""
        session, slot = np.nonzero(wrong)
        shown[session, slot] = -1
        for one, place in zip(session.tolist(), slot.tolist(), strict=True):
            start = int(rng.integers(len(self.always)))
            taken = set(shown[one].tolist())
            step = next(j for j in range(len(self.always)) if self.always[(start + j) % len(self.always)] not in taken)
            shown[one, place] = self.always[(start + step) % len(self.always)]
        return shown


def _repeated(shown: Array, first: Array) -> Array:
    """True where the same item stands further left in the row; those of `first` count as left of all others."""
    order = np.argsort(2 * shown + ~first, axis=1, kind="stable")
    ranked = np.take_along_axis(shown, order, axis=1)
    again = np.zeros(shown.shape, dtype=bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.zeros(shown.shape, dtype=bool)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated
