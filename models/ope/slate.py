"""Estimators for slates. W_k is the weight of the first k slots, r_k what slot k earned.

    SIPS        mean of W_S (r_1 + ... + r_S)                      the slate as one action: any interaction of its items
    SNSIPS      its self-normalised form
    IIPS        mean of sum_k w_k r_k                              w_k of an item at a position, whatever the others:
                                                                   right if clicks do not interact (Li et al., KDD 2018)
    RIPS        mean of sum_k W_k r_k                              right where a click depends on the items above it
    SNRIPS      sum_k of sum W_k r_k / sum W_k                     (McInerney et al., KDD 2020)
    cascade-DR  mean of sum_k W_(k-1) v_k + W_k (r_k - q_k)        RIPS with a model of what follows
                                                                   (Kiyohara et al., WSDM 2022; Jiang and Li, ICML 2016)

where q_k is what the model expects from slot k on, and v_k its mean over the target's choice there.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from models.ope.slates import Floats, Slates, Values
from models.ope.terms import Terms, mean_of, ratio_of

__all__ = [
    "cascade_direct",
    "cascade_doubly_robust",
    "independent_ips",
    "reward_interaction_ips",
    "self_normalised_reward_interaction_ips",
    "self_normalised_slate_ips",
    "slate_ips",
]


def slate_ips(slates: Slates) -> Terms:
    """SIPS."""
    return mean_of(slates.weights()[:, -1] * slates.rewards.sum(axis=1))


def self_normalised_slate_ips(slates: Slates) -> Terms:
    """SNSIPS; NaN where the target draws none of the slates."""
    return ratio_of(slates.weights()[:, -1], slates.rewards.sum(axis=1))


def independent_ips(slates: Slates, position_weights: Floats) -> Terms:
    """IIPS.

    Args:
        slates: N of S items.
        position_weights: float64 [N, S], probability of the logged item at that position under the target over the one
            under the logging policy, whatever the other slots hold; see `models.ope.positions`.
    """
    return mean_of((position_weights * slates.rewards).sum(axis=1))


def reward_interaction_ips(slates: Slates) -> Terms:
    """RIPS."""
    return mean_of((slates.weights() * slates.rewards).sum(axis=1))


def self_normalised_reward_interaction_ips(slates: Slates) -> Terms:
    """SNRIPS, each slot by its own weights; NaN where the target never draws what some slot shows."""
    weights = slates.weights()
    return reduce(Terms.__add__, (ratio_of(weights[:, k], slates.rewards[:, k]) for k in range(weights.shape[1])))


def cascade_doubly_robust(slates: Slates, values: Values, *, cap: float = np.inf) -> Terms:
    """Cascade-DR.

    Args:
        slates: N of S items.
        values: of the model.
        cap: no weight counts for more; a finite one makes the estimate biased, which no interval shows.
    """
    weights = np.minimum(slates.weights(), cap)
    before = np.concatenate([np.ones((len(weights), 1)), weights[:, :-1]], axis=1)
    return mean_of((before * values.expected + weights * (slates.rewards - values.taken)).sum(axis=1))


def cascade_direct(values: Values) -> Terms:
    """What the model of cascade-DR says before anything is drawn."""
    return mean_of(values.expected[:, 0])
