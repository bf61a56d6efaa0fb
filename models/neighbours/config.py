"""The [neighbours] section."""

from __future__ import annotations

from typing import Annotated

import msgspec

from workflows.core.section import Count, Fraction, NonNegative, Positive, Section

__all__ = ["NeighboursConfig"]

Shares = Annotated[tuple[Annotated[float, msgspec.Meta(ge=0.0, le=1.0)], ...], msgspec.Meta(min_length=1)]

Boosts = Annotated[tuple[Annotated[float, msgspec.Meta(ge=0.0)], ...], msgspec.Meta(min_length=1)]
Decays = Annotated[tuple[Annotated[float, msgspec.Meta(gt=0.0, le=1.0)], ...], msgspec.Meta(min_length=1)]


class NeighboursConfig(Section, frozen=True):
    """The item-item weights and the weight of their score beside the two towers'.

    Of several values the best on the valid split is taken; the first where it has no user to ask.

    Attributes:
        regressed: items that may contribute to one item in the local ridge regression; 0: the walks are all there is.
        walked: items kept per item of the two-step walks.
        l2: ridges to choose from.
        walk_powers: the walks to an item, and from it, are divided by its count to this power, to choose from: where
            users have few items each, popular ones must not be held back.
        walk_shares: share of the walks in the blended score, to choose from.
        recency_boosts: how much more than others the latest item counts in a user's item-item score, to choose from.
        recency_decays: of that, per step into the past, to choose from.
        tower_shares: share of the two towers in the merged retrieval score, to choose from.
        longest_list: items kept in the list of one item, by absolute weight: what a request costs.
        user_power: a user with n items counts n**-user_power: long lists say less about each pair.
        popularity_power: the regression's weights for an item are divided by its count to this power.
        max_pairs: item pairs counted over all users; where there are more, the longest lists are thinned.
        validation_cutoff: k of the NDCG@k that chooses.
        validation_users: users drawn for it.
        seed: of every draw.
    """

    regressed: NonNegative = 128
    walked: Count = 256
    l2: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)] = (200.0, 25.0, 50.0, 100.0, 400.0, 800.0)
    walk_powers: Shares = (0.6, 0.45, 0.3, 0.15, 0.0)
    walk_shares: Shares = (0.2, 0.0, 0.1, 0.35, 0.5, 0.65, 0.8, 1.0)
    recency_boosts: Boosts = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
    recency_decays: Decays = (0.8, 0.6, 0.9)
    tower_shares: Shares = (0.3, 0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    longest_list: Count = 200
    user_power: Fraction = 0.3
    popularity_power: Fraction = 0.1
    max_pairs: Count = 400_000_000
    validation_cutoff: Count = 100
    validation_users: Count = 2_000
    seed: NonNegative = 1
