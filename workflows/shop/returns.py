"""What customers send back, and what the shop earns by what they keep: planted, and so known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workflows.shop.config import ReturnsConfig, ShopConfig
from workflows.shop.truth import Array, sigmoid
from workflows.shop.world import World, generator

__all__ = ["Returns", "draw_returns"]

BIAS, CATEGORY_SPREAD, ITEM_SPREAD = -1.1, 0.9, 0.6
PRICE_WEIGHT, TASTE_WEIGHT = 0.5, 0.35
MARGIN_SPREAD = 0.4


@dataclass(frozen=True)
class Returns:
    """Return logits and margins of the items.

    The logit of a return, once bought, is

        r = item_logit_i + PRICE_WEIGHT * max(gap, 0) - TASTE_WEIGHT * sqrt(D) * <p_u(t), q_i>

    with gap and taste as of `Truth`: what is dear to its buyer, or little liked, comes back.

    Attributes:
        config: what a click, and what a return, is worth.
        item_logit: float32 [N], of the item and its category.
        margin: float64 [N], money that a purchase earns if it is kept.
    """

    config: ReturnsConfig
    item_logit: Array
    margin: Array

    def probability(self, world: World, users: Array, items: Array, at: Array) -> Array:
        """Probability that a purchase is sent back, by row; float32 of the broadcast shape."""
        truth = world.truth
        gap = np.maximum(truth.gap(users, items), np.float32(0.0))
        liking = truth.taste(users, items, at)
        return sigmoid(self.item_logit[items] + np.float32(PRICE_WEIGHT) * gap - np.float32(TASTE_WEIGHT) * liking)

    def utility(self, items: Array, click: Array, purchase: Array, returned: Array) -> Array:
        """Money: click * value + margin of what is kept - cost of what is sent back; of outcomes or of probabilities.

        Args:
            items: int64, item rows.
            click: float64 in the same shape, as the others.
            purchase: of all that is bought.
            returned: of what is bought and sent back.

        Returns:
            float64 in the same shape.
        """
        kept = self.margin[items] * (purchase - returned)
        return np.asarray(self.config.click_value * click + kept - self.config.return_cost * returned)


def draw_returns(config: ShopConfig, world: World) -> Returns:
    """Draw the return logits and margins of a shop that has [shop.returns]."""
    assert config.returns is not None
    rng, category = generator(config, "returns"), world.truth.item_category
    logit = BIAS + CATEGORY_SPREAD * rng.standard_normal(int(category.max()) + 1)[category]
    logit += ITEM_SPREAD * rng.standard_normal(len(category))
    margin = config.returns.margin * np.exp(MARGIN_SPREAD * rng.standard_normal(len(category)))
    return Returns(config.returns, logit.astype(np.float32), np.round(margin, 2))
