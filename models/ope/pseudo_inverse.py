"""The pseudo-inverse estimator, for slates so few that all of them can be listed.

If the reward of a slate is a sum of what each item adds at its position, whatever that is, then for each context x

    mean of  r  q(x)' pinv(Gamma(x)) 1_s,    Gamma(x) = E_logged [1_s 1_s'],   q(x) = E_target [1_s]

is unbiased, where 1_s marks which item is at which position (Swaminathan et al., "Off-policy evaluation for slate
recommendation", NeurIPS 2017). It needs one reward a slate, not one an item.
"""

from __future__ import annotations

from math import perm

import numpy as np
from numpy.typing import NDArray

from models.ope.slates import Floats
from models.ope.softmax import enumerate_slates, slate_log_probabilities
from models.ope.terms import Terms, mean_of

__all__ = ["MOST_SLATES", "can_be_listed", "pseudo_inverse", "pseudo_inverse_weights"]

MOST_SLATES = 1_000
CUTOFF = 1e-10  # singular values below this share of the largest are none: Gamma has no full rank by construction


def can_be_listed(num_items: int, size: int) -> bool:
    """Whether there are at most MOST_SLATES slates."""
    return size <= num_items and perm(num_items, size) <= MOST_SLATES


def pseudo_inverse(rewards: Floats, weights: Floats) -> Terms:
    """The estimate from rewards of slates [N] and `pseudo_inverse_weights` [N]."""
    return mean_of(rewards * weights)


def pseudo_inverse_weights(logged: Floats, target: Floats, places: NDArray[np.int64]) -> Floats:
    """q(x)' pinv(Gamma(x)) 1_s of every logged slate; may be negative.

    Args:
        logged: float64 [N, C], utilities of the logging policy, divided by its temperature.
        target: float64 [N, C], of the target policy.
        places: int64 [N, S], which of the C each slot shows.

    Returns:
        float64 [N].
    """
    size, num_items = places.shape[1], logged.shape[1]
    slates = enumerate_slates(num_items, size)
    marks = np.zeros((len(slates), size, num_items))
    np.put_along_axis(marks, slates[:, :, None], 1.0, axis=2)
    marks = marks.reshape(len(slates), -1)
    contexts, of = np.unique(np.concatenate([logged, target], axis=1), axis=0, return_inverse=True)
    found = np.empty(len(places))
    for context, row in enumerate(contexts):
        utilities = np.broadcast_to(row[:num_items], (len(slates), num_items))
        drawn = np.exp(slate_log_probabilities(utilities, slates).sum(axis=1))
        utilities = np.broadcast_to(row[num_items:], (len(slates), num_items))
        wanted = np.exp(slate_log_probabilities(utilities, slates).sum(axis=1)) @ marks
        gains = np.linalg.pinv(marks.T @ (marks * drawn[:, None]), rcond=CUTOFF, hermitian=True) @ wanted
        here = np.flatnonzero(of.reshape(-1) == context)
        found[here] = gains.reshape(size, num_items)[np.arange(size), places[here]].sum(axis=1)
    return found
