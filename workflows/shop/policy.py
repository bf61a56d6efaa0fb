"""The logging policy of the shop: a mix of popular items, items of liked categories, and items at random."""

from __future__ import annotations

import numpy as np

from workflows.shop.truth import Array
from workflows.shop.world import NEVER, World

__all__ = ["LoggingPolicy"]

POPULAR, TASTE, UNIFORM = range(3)
MIX = (0.45, 0.40, 0.15)
TASTE_SHARPNESS = 1.0
MAX_REDRAWS = 6


class LoggingPolicy:
    """Shows each session distinct items that are on sale at that instant."""

    def __init__(self, world: World) -> None:
        self.world = world
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

    def show(self, rng: np.random.Generator, users: Array, at: Array, width: int) -> Array:
        """Items of each session.

        Args:
            rng: the source of randomness.
            users: int64 [S], user rows.
            at: int64 [S], epoch nanoseconds.
            width: items in a session.

        Returns:
            int64 [S, width], item rows, distinct in a row.
        """
        chances = self._category_chances(users, at)
        mode = rng.choice(len(MIX), size=(len(users), width), p=MIX)
        shown = np.zeros((len(users), width), dtype=np.int64)
        wrong = np.ones(shown.shape, dtype=bool)
        for _ in range(MAX_REDRAWS):
            session, slot = np.nonzero(wrong)
            if not len(session):
                return shown
            shown[session, slot] = self._propose(rng, mode[session, slot], chances, session)
            wrong = self._off_sale(shown, at) | _repeated(shown)
        return self._fill(rng, shown, wrong)

    def _propose(self, rng: np.random.Generator, mode: Array, chances: Array, session: Array) -> Array:
        num_items = len(self.popular)
        chance = rng.random(len(mode))
        items = np.searchsorted(self.popular, chance * self.popular[-1], side="right")
        uniform = mode == UNIFORM
        items[uniform] = (chance[uniform] * num_items).astype(np.int64)
        taste = np.flatnonzero(mode == TASTE)
        category = (chances[session[taste]] < rng.random((len(taste), 1))).sum(axis=1)
        category = np.minimum(category, chances.shape[1] - 1)
        items[taste] = self._from_category(category, chance[taste])
        return np.asarray(np.minimum(items, num_items - 1))

    def _from_category(self, category: Array, chance: Array) -> Array:
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


def _repeated(shown: Array) -> Array:
    """True where the same item stands further left in the row."""
    order = np.argsort(shown, axis=1, kind="stable")
    ranked = np.take_along_axis(shown, order, axis=1)
    again = np.zeros(shown.shape, dtype=bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.zeros(shown.shape, dtype=bool)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated
