"""All that the laboratory knows of one shop: who comes, and what decides what they do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workflows.shop.config import ShopConfig
from workflows.shop.returns import Returns, draw_returns
from workflows.shop.sessions import draw_devices, draw_users_and_times
from workflows.shop.softmax import SoftmaxPolicy
from workflows.shop.stock import Stock, draw_regions, open_stock
from workflows.shop.truth import Array
from workflows.shop.visits import Visits
from workflows.shop.world import SECOND_NS, World, draw_world, generator

__all__ = ["Shop", "draw_visits", "open_shop", "visits_of"]


@dataclass(frozen=True)
class Shop:
    """A shop to play in.

    Attributes:
        config: of which all else is a function.
        world: users, items and the truth of clicks and purchases.
        returns: what is sent back, and what is earned; None without [shop.returns].
        stock: what is left to sell; None without [shop.stock]. It changes as the shop is played in.
        crowding: by how much an item's logit of a click falls for each item of its category further up in the slate.
    """

    config: ShopConfig
    world: World
    returns: Returns | None = None
    stock: Stock | None = None
    crowding: float = 0.0

    def logging_policy(self) -> SoftmaxPolicy:
        """The one that has propensities, as the config sizes it."""
        return SoftmaxPolicy(self.world, self.config.random_share, self.config.impressions_per_session)

    def with_crowding(self, crowding: float) -> Shop:
        """The same shop, where slots of one category take clicks from each other."""
        return replace(self, crowding=crowding)


def open_shop(config: ShopConfig) -> Shop:
    """Draw a shop, with full shelves.

    Raises:
        ConfigError: too few items are on sale all the time to fill a session.
    """
    world = draw_world(config)
    returns = draw_returns(config, world) if config.returns is not None else None
    stock = open_stock(config, world) if config.stock is not None else None
    return Shop(config, world, returns, stock)


def draw_visits(shop: Shop, size: int, seed: int) -> Visits:
    """Who comes when, as in the shop's log, with a seed of its own."""
    rng = generator(shop.config, "visits", seed)
    return visits_of(shop, rng, *draw_users_and_times(rng, shop.config, shop.world, size))


def visits_of(shop: Shop, rng: np.random.Generator, users: Array, at_s: Array) -> Visits:
    """Visits of given users at given instants, in epoch seconds; their devices are drawn."""
    region = draw_regions(shop.config)[users] if shop.config.stock is not None else np.zeros_like(users)
    return Visits(users, at_s * SECOND_NS, draw_devices(rng, shop.world, users), region)
