"""The logging policy with a stated probability: a sequential softmax over what is on sale, and a share of chance.

The weight of an item is its popularity times a factor of its category, the same mixture of popular items and liked
categories as `LoggingPolicy` has. An item is drawn at each slot with a probability that is proportional to its weight
among those on sale that the slate does not have yet: a softmax of log(weight) without replacement. As the weights of a
category share a factor, their sum over what is on sale is known for every instant, so that a slate costs the same in a
catalogue of a thousand items and of a million, and nothing of it is approximate.
"""

from __future__ import annotations

import numpy as np

from workflows.shop.policy import MIX, POPULAR, TASTE, LoggingPolicy
from workflows.shop.truth import Array
from workflows.shop.visits import Slates, Visits
from workflows.shop.world import NEVER, World

__all__ = ["SoftmaxPolicy"]

MAX_REDRAWS = 40


class SoftmaxPolicy:
    """Draws slates, and says how probable any slate is.

    A share of the slates is drawn uniformly. The logged propensity is that of the mixture, not of the branch that was
    taken: the slate says nothing of its branch, so the mixture is what decided what was seen. An importance weight over
    it is at most 1 / uniform_share times that over chance alone, and exactly 1 where the policy is judged by its own
    log; over the branch it would have neither bound.

    Args:
        world: users and items.
        uniform_share: share of the slates that chance fills.
        width: items of a slate.
    """

    def __init__(self, world: World, uniform_share: float, width: int) -> None:
        self.uniform_share, self.width = uniform_share, width
        self._known, self._sale = LoggingPolicy(world), _OnSale(world)
        self._weight, self._category = world.item_weight, world.truth.item_category

    def __call__(self, rng: np.random.Generator, visits: Visits) -> Slates:
        """Draw a slate for each visit."""
        explored = rng.random(len(visits)) < self.uniform_share
        factor = np.where(explored[:, None], 0.0, self._factors(visits))
        items = np.full((len(visits), self.width), -1, dtype=np.int64)
        count = self._sale.count(visits)
        for slot in range(self.width):
            self._draw_slot(rng, visits, items, slot, factor, explored, count)
        return Slates(items, self.log_propensities(visits, items), explored, "shop-softmax")

    def log_propensities(self, visits: Visits, items: Array) -> Array:
        """Log probability of each slot of given slates, given the slots before it.

        Args:
            visits: B visits.
            items: int64 [B, S], item rows, distinct in a row; -1 for none.

        Returns:
            float64 [B, S]; -inf from the first item on that the policy cannot show there, 0 at -1.
        """
        count = self._sale.count(visits)
        can = (items < 0) | self._sale.has(visits, items)
        before = np.arange(items.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = np.where(items < 0, 0.0, -np.log(np.maximum(count[:, None] - before, 1.0)))
            softmax = np.where(items < 0, 0.0, self._log_softmax(visits, items))
            both = np.logaddexp(
                np.log(self.uniform_share) + np.cumsum(chance, axis=1),
                np.log1p(-self.uniform_share) + np.cumsum(softmax, axis=1),
            )
            slots = np.diff(both, axis=1, prepend=0.0)
        return np.where(np.logical_and.accumulate(can, axis=1), slots, -np.inf)

    def num_on_sale(self, visits: Visits) -> Array:
        """How many items can be shown at each visit, float64 [B]."""
        return self._sale.count(visits)

    def _log_softmax(self, visits: Visits, items: Array) -> Array:
        """Of slates that are on sale, [B, S].

        The sum of what is left comes by subtraction: weights of this shop lie within a few decades of each other, so
        that what is lost is of the order of 1e-12.
        """
        factor = self._factors(visits)
        weight = self._weight[items] * np.take_along_axis(factor, self._category[items].astype(np.int64), axis=1)
        weight = np.where(items < 0, 0.0, weight)
        total = (factor * self._sale.weight(visits)).sum(axis=1, keepdims=True)
        left = total - np.cumsum(weight, axis=1) + weight
        return np.asarray(np.minimum(np.log(weight) - np.log(left), 0.0))

    def _factors(self, visits: Visits) -> Array:
        """By visit and category, float64 [B, categories]."""
        known = self._known
        cos, sin = known.world.truth.drift(visits.at)
        truth = known.world.truth
        taste = cos[:, None] * truth.taste_start[visits.users] + sin[:, None] * truth.taste_end[visits.users]
        weight = known.category_weights(taste.astype(np.float64))  # in float32 the batch would show in the last digits
        chance = weight / weight.sum(axis=1, keepdims=True)
        return np.asarray(MIX[POPULAR] + MIX[TASTE] * chance / known.category_share)

    def _draw_slot(
        self,
        rng: np.random.Generator,
        visits: Visits,
        items: Array,
        slot: int,
        factor: Array,
        explored: Array,
        count: Array,
    ) -> None:
        """Fill one slot: propose by category and popularity, refuse what is off sale or shown already.

        Whatever is accepted has the softmax's probability, however often was refused before.
        """
        open_ = np.flatnonzero(count > slot)
        for _ in range(MAX_REDRAWS):
            if not len(open_):
                return
            found = self._propose(rng, factor[open_], explored[open_])
            here = visits.take(open_)
            wrong = ~self._sale.has(here, found[:, None])[:, 0] | (items[open_, :slot] == found[:, None]).any(axis=1)
            items[open_[~wrong], slot] = found[~wrong]
            open_ = open_[wrong]
        for one in open_.tolist():
            allowed = self._sale.all(visits, one)
            allowed[items[one, :slot]] = False
            weight = allowed * (1.0 if explored[one] else self._weight * factor[one, self._category])
            sums = np.cumsum(weight)
            items[one, slot] = np.searchsorted(sums, rng.random() * sums[-1], side="right")

    def _propose(self, rng: np.random.Generator, factor: Array, explored: Array) -> Array:
        known, chance = self._known, rng.random(len(factor))
        share = np.cumsum(factor * known.category_share, axis=1)
        category = (share < rng.random((len(factor), 1)) * share[:, -1:]).sum(axis=1)
        found = known.from_category(np.minimum(category, factor.shape[1] - 1), chance)
        return np.where(explored, (chance * len(self._weight)).astype(np.int64), found)


class _OnSale:
    """What is on sale at a visit, and what it weighs by category."""

    def __init__(self, world: World) -> None:
        truth = world.truth
        self.launched, self.ends = truth.launched_at, truth.sold_out_at
        self.weight_of, self.category = world.item_weight, truth.item_category.astype(np.int64)
        size = len(self.launched)
        ends = np.flatnonzero(self.ends != NEVER)
        at, item = np.concatenate([self.launched, self.ends[ends]]), np.concatenate([np.arange(size), ends])
        sign = np.repeat([1.0, -1.0], [size, len(ends)])
        order = np.argsort(at, kind="stable")
        start = truth.log_from_to[0]
        first = int(np.searchsorted(at[order], start, side="right"))  # before the log begins only the sum counts
        self.changes = at[order][first:]
        steps = np.zeros((len(self.changes) + 1, int(self.category.max()) + 2))  # the last column counts items
        early, late = order[:first], order[first:]
        np.add.at(steps[0], self.category[item[early]], sign[early] * self.weight_of[item[early]])
        steps[0, -1] = sign[early].sum()
        np.add.at(steps, (np.arange(len(late)) + 1, self.category[item[late]]), sign[late] * self.weight_of[item[late]])
        steps[1:, -1] = sign[late]
        self.sums = np.cumsum(steps, axis=0)

    def weight(self, visits: Visits) -> Array:
        """Sum of the popularities on sale, float64 [B, categories]."""
        return self._sums(visits)[:, :-1]

    def count(self, visits: Visits) -> Array:
        """How many items are on sale, float64 [B]."""
        return self._sums(visits)[:, -1]

    def has(self, visits: Visits, items: Array) -> Array:
        """Whether items [B, S] are on sale, bool [B, S]."""
        at = visits.at[:, None]
        on_sale = (self.launched[items] <= at) & (at < self.ends[items])
        if visits.sold_out is not None:
            on_sale &= ~visits.sold_out[visits.region[:, None], items]
        return np.asarray(on_sale)

    def all(self, visits: Visits, one: int) -> Array:
        """Which items are on sale at one visit, bool [N]."""
        on_sale = self.has(visits.take(slice(one, one + 1)), np.arange(len(self.launched))[None, :])
        return np.asarray(on_sale[0])

    def _sums(self, visits: Visits) -> Array:
        """Popularities by category, and in the last column how many items, [B, categories + 1]."""
        sums = np.asarray(self.sums[np.searchsorted(self.changes, visits.at, side="right")])
        if visits.sold_out is None or not len(visits):
            return sums
        throughout = (self.launched <= visits.at.min()) & (visits.at.max() < self.ends)
        for region in np.unique(visits.region).tolist():
            here = np.flatnonzero(visits.region == region)
            gone = visits.sold_out[region]
            sums[here] -= self._of(np.flatnonzero(gone & throughout))
            for item in np.flatnonzero(gone & ~throughout).tolist():
                was_there = here[(self.launched[item] <= visits.at[here]) & (visits.at[here] < self.ends[item])]
                sums[was_there] -= self._of(np.array([item]))
        return sums

    def _of(self, items: Array) -> Array:
        """The sums of some items, [categories + 1]."""
        size = self.sums.shape[1] - 1
        return np.append(np.bincount(self.category[items], self.weight_of[items], minlength=size), len(items))
