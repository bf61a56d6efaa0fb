"""Keys of [neighbours] that have no effect under others, or without users of the valid split."""

from __future__ import annotations

from collections.abc import Iterator

from models.neighbours.config import NeighboursConfig
from workflows.core.given import Unused

__all__ = ["unused_by_config", "unused_without_users"]

OF_REGRESSION = ("l2", "user_power", "popularity_power")
OF_WALKS = ("walked", "walk_powers")
CHOSEN = ("l2", "walk_powers", "walk_shares", "recency_boosts", "recency_decays", "tower_shares")


def unused_by_config(config: NeighboursConfig) -> Iterator[Unused]:
    """What the config alone tells."""
    if not config.regressed:
        for key in OF_REGRESSION:
            yield Unused(f"neighbours.{key}", "neighbours.regressed = 0 leaves the walks alone", "drop it")
    if set(config.walk_shares) == {1.0}:
        for key in ("regressed", *OF_REGRESSION):
            yield Unused(f"neighbours.{key}", "neighbours.walk_shares is 1 alone, so the walks are all", "drop it")
    if set(config.walk_shares) == {0.0}:
        for key in OF_WALKS:
            yield Unused(f"neighbours.{key}", "neighbours.walk_shares is 0 alone, so there are no walks", "drop it")
    if set(config.recency_boosts) == {0.0}:
        yield Unused("neighbours.recency_decays", "neighbours.recency_boosts is 0 alone", "drop it")
    if all(len(set(getattr(config, key))) == 1 for key in CHOSEN):
        yield from _of_the_choice("every key to choose from has one value")


def unused_without_users() -> Iterator[Unused]:
    """What has no effect where no positive of the valid split is new to its user."""
    yield from _of_the_choice("no positive of the valid split is new to its user, so the first values are taken")


def _of_the_choice(why: str) -> Iterator[Unused]:
    for key in ("validation_cutoff", "validation_users"):
        yield Unused(f"neighbours.{key}", why, "drop it")
