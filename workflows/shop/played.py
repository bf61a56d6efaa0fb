"""The shop's log where its logging policy has propensities: played, and laid out as impressions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workflows.shop.laboratory import Shop, visits_of
from workflows.shop.play import Played, play_blocks
from workflows.shop.sessions import Impressions, Sessions, first_rows
from workflows.shop.world import SECOND_NS, generator

__all__ = ["play_impressions"]


def play_impressions(shop: Shop, sessions: Sessions) -> Iterator[Impressions]:
    """Play the sessions with the shop's own policy, a block at a time; exactly `num_impressions` rows in all.

    A slate that chance filled shows every item on sale at each of its positions alike, which `propensity` states.
    """
    policy, config = shop.logging_policy(), shop.config
    visits = visits_of(shop, generator(config, "devices"), sessions.users, sessions.at_s)

    def blocks() -> Iterator[Impressions]:
        first = 0
        for played in play_blocks(shop, policy, visits, config.seed):
            yield _impressions(played, policy.num_on_sale(played.visits), first)
            first += len(played.visits)

    return first_rows(blocks(), config.num_impressions)


def _impressions(played: Played, num_on_sale: np.ndarray, first: int) -> Impressions:
    visits, slates = played.visits, played.slates
    size, width = slates.items.shape
    shown = slates.items >= 0
    chance = np.where(slates.explored, 1.0 / num_on_sale, np.nan)
    by_visit = {
        "session": np.arange(first, first + size),
        "users": visits.users,
        "at_s": visits.at // SECOND_NS,
        "device": visits.device,
        "propensity": chance,
    }
    by_slot = {"items": slates.items, "log_propensity": slates.log_propensity}
    return Impressions(
        **{name: np.repeat(values, width)[shown.ravel()] for name, values in by_visit.items()},
        **{name: values[shown] for name, values in by_slot.items()},
        position=np.broadcast_to(np.arange(1, width + 1, dtype=np.int32), shown.shape)[shown],
        click=played.click[shown],
        purchase=played.purchase[shown],
    )
