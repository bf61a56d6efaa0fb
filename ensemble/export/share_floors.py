"""Floors of the config that are shares over all slates: each becomes a boost, whose size is learnt."""

from __future__ import annotations

import msgspec

from ensemble.config import Config
from ensemble.config_order import BoostRule, end_of
from ensemble.export.eligibility import column_of, holds
from ensemble.export.prices import Floored, ShareFloor, learnt_prices
from ensemble.export.sample import Sample
from runtime.stream.live import now_ns
from workflows.core import console
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["NUM_LEARNERS", "priced", "without_shares"]

# Half of them are learnt on; a share of .1 of their 20,000 places moves by .003 by chance.
NUM_LEARNERS = 2_000
# Of a floor: less than this is missing where candidates of its kind are.
ENOUGH = 0.99


def without_shares(config: Config) -> Config:
    """The config without the floors that are shares."""
    floors = [floor for floor in config.chain.floors if floor.share is None]
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, floors=floors))


def priced(run: Run, config: Config, sample: Sample) -> Config:
    """The config with a boost in the place of each floor that is a share; says what each does to slates.

    Args:
        run: whose items the floors are of.
        config: with such floors.
        sample: of the chain without them.

    Raises:
        ConfigError: the candidates of users are too few of a floor's kind, or its column cannot be compared.
    """
    items, chain = run.folder("data") / "items.parquet", config.chain
    lasting = {
        f"chain.floors[{number}]": floor
        for number, floor in enumerate(chain.floors)
        if floor.share is not None and not 0 < end_of(floor.until) <= now_ns()
    }
    if not lasting:
        return without_shares(config)
    floors = [
        ShareFloor(holds(column_of(items, floor.column, f"{key}.column"), floor, key), floor.share or 0.0, floor.top)
        for key, floor in lasting.items()
    ]
    found = learnt_prices(sample, floors)
    _check(list(lasting), floors, found)
    for place, key in enumerate(lasting):
        console.say(
            f"{key}: {found.after[place]:.2%} of the places of slates of {found.num_users:,} users, "
            f"{found.before[place]:.2%} without the floors; {found.prices[place]:.3g} is added to their utility"
        )
    console.say(f"chain.floors with shares: slates are worth {found.loss:.2%} less")
    boosts = [
        BoostRule(column=floor.column, op=floor.op, value=floor.value, add=price, until=floor.until)
        for floor, price in zip(lasting.values(), found.prices, strict=True)
        if price
    ]
    chain = msgspec.structs.replace(without_shares(config).chain, boosts=[*chain.boosts, *boosts])
    return msgspec.structs.replace(config, chain=chain)


def _check(keys: list[str], floors: list[ShareFloor], found: Floored) -> None:
    for key, floor, learnt in zip(keys, floors, found.learnt, strict=True):
        if learnt < ENOUGH * floor.share:
            raise ConfigError(
                f"{key}.share = {floor.share:g}, and of the places of slates at most {learnt:.4g} can show items of "
                "its kind, with the candidates and the other rules that there are; lower it, or let more such items be "
                "candidates (chain.num_candidates, a quota in [sources])"
            )
