"""Units in warehouses: what one customer buys, another cannot have.

Every region has a warehouse of its own, and a central one delivers to all. An order is filled from the region's
warehouse, else from the central one. Variants of an experiment that sell from the same shelves take from each other;
`split` gives each its own share of every shelf.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workflows.shop.config import ShopConfig
from workflows.shop.truth import Array
from workflows.shop.visits import Visits
from workflows.shop.world import SECOND_NS, World, generator

__all__ = ["Stock", "draw_regions", "open_stock"]

DAY_NS = 86_400 * SECOND_NS


class Stock:
    """What is left, as of a visit.

    Args:
        config: with [shop.stock].
        local: int64 [variants, regions, N], units of the regions' own warehouses.
        central: int64 [variants, N].
        daily: float64 [N], units that arrive a day, on average, over all warehouses and variants.
        start: epoch nanoseconds at which these units are there.
    """

    def __init__(self, config: ShopConfig, local: Array, central: Array, daily: Array, start: int) -> None:
        assert config.stock is not None
        self.local, self.central = local, central
        self._config, self._share, self._daily = config, config.stock.central_share, daily
        self._start, self._day = start, 0

    @property
    def units(self) -> int:
        """Units of all warehouses."""
        return int(self.local.sum() + self.central.sum())

    def split(self, variants: int) -> Stock:
        """The same units dealt out to the variants of an experiment, none of which sees the others' shelves.

        The region of a visit of variant v is then region + v * regions.
        """
        rng = generator(self._config, "split stock", variants)
        chances = np.full(variants, 1.0 / variants)
        local = np.moveaxis(rng.multinomial(self.local.sum(axis=0), chances), -1, 0)
        central = np.moveaxis(rng.multinomial(self.central.sum(axis=0), chances), -1, 0)
        return Stock(self._config, local, central, self._daily, self._start)

    def now(self, visits: Visits) -> Visits:
        """Visits that know what is sold out as the first of them begins; what arrived by then is on the shelves."""
        if len(visits):
            while self._day < (int(visits.at[0]) - self._start) // DAY_NS:
                self._day += 1
                self._arrive()
        gone = (self.local + self.central[:, None, :] <= 0).reshape(-1, self.local.shape[2])
        return replace(visits, sold_out=gone)

    def sell(self, visits: Visits, items: Array, wanted: Array) -> Array:
        """Fill orders in the order of the visits.

        Args:
            visits: B visits.
            items: int64 [B, S], item rows.
            wanted: bool [B, S], what is ordered.

        Returns:
            bool [B, S], which orders were filled.
        """
        filled = np.zeros(wanted.shape, dtype=bool)
        regions = self.local.shape[1]
        for visit, slot in np.argwhere(wanted).tolist():
            item = int(items[visit, slot])
            variant, region = divmod(int(visits.region[visit]), regions)
            shelf = self.local[variant, region] if self.local[variant, region, item] else self.central[variant]
            if shelf[item]:
                shelf[item] -= 1
                filled[visit, slot] = True
        return filled

    def _arrive(self) -> None:
        """What comes in a day is a function of the shop and the day alone, whatever was sold."""
        rng = generator(self._config, "arrivals", self._day)
        variants, regions, _ = self.local.shape
        central, local = _deal(rng, rng.poisson(self._daily), self._share, regions)
        self.central += np.moveaxis(rng.multinomial(central, np.full(variants, 1.0 / variants)), -1, 0)
        self.local += np.moveaxis(rng.multinomial(local, np.full(variants, 1.0 / variants)), -1, 0)


def open_stock(config: ShopConfig, world: World) -> Stock:
    """Fill the shelves of a shop that has [shop.stock], in proportion to the items' popularity."""
    assert config.stock is not None
    rng, stock = generator(config, "stock"), config.stock
    expected = world.item_weight * len(world.item_weight)
    central, local = _deal(rng, rng.poisson(stock.units * expected), stock.central_share, stock.regions)
    daily = stock.arrivals_per_day * expected
    return Stock(config, local[None], central[None], daily, int(world.truth.log_from_to[0]))


def draw_regions(config: ShopConfig) -> Array:
    """Region of each user, int64 [U]."""
    assert config.stock is not None
    return generator(config, "regions").integers(config.stock.regions, size=config.num_users)


def _deal(rng: np.random.Generator, units: Array, central_share: float, regions: int) -> tuple[Array, Array]:
    """Units [N] dealt out to the central warehouse [N] and to those of the regions [regions, N]."""
    central = rng.binomial(units, central_share)
    local = rng.multinomial(units - central, np.full(regions, 1.0 / regions))
    return central, np.ascontiguousarray(local.T)
